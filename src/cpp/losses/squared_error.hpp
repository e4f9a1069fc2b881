// Squared error: (z - y)^2.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct squared_error {
    static constexpr const char* name = "squared_error";
    static constexpr int parameters = 0;
    static constexpr bool is_short = true;

    explicit squared_error(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        return {r * r, r + r, splat<V>(2)};
    }
};

}  // namespace
}  // namespace lossk
