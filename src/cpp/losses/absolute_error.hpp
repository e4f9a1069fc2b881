// Absolute error: |z - y|; its gradient at 0 is 0.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct absolute_error {
    static constexpr const char* name = "absolute_error";
    static constexpr int parameters = 0;
    static constexpr bool is_short = true;

    explicit absolute_error(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        return {abs(r), sign(r), V{}};
    }
};

}  // namespace
}  // namespace lossk
