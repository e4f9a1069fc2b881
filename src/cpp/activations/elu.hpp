// Exponential linear unit: x where x > 0, alpha (exp(x / width) - 1) elsewhere: ELU with width 1, CELU with width
// alpha. Largest errors for width 1: value 2.5 ULP, derivative 2 ULP; the rounding of x / width adds |x / width| ULP
// to the derivative.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct elu_unit {
    static constexpr const char* name = "elu";
    static constexpr int parameters = 2;

    T alpha, inverse, slope;
    explicit elu_unit(const double* p)
        : alpha(static_cast<T>(p[0])), inverse(static_cast<T>(1 / p[1])), slope(static_cast<T>(p[0] / p[1])) {}

    template <class V>
    V value(V x) const {
        return choose<V>(x > T(0), x, expm1(min(T(0), x) * inverse) * alpha);
    }

    template <class V>
    V derivative(V x) const {
        return choose<V>(x > T(0), splat<V>(T(1)), exp(min(T(0), x) * inverse) * slope);
    }
};

}  // namespace
}  // namespace lossk
