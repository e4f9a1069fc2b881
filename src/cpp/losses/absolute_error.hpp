// Absolute error: |z - y|; its gradient at 0 is 0.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct absolute_error {
    static constexpr const char* name = "absolute_error";
    static constexpr int parameters = 0;

    explicit absolute_error(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        // r where it is 0 or NaN, else +-1.
        const V sign = choose<V>((r < T(0)) | (r > T(0)), copysign(splat<V>(1), r), r);
        return {abs(r), sign, V{}};
    }
};

}  // namespace
}  // namespace lossk
