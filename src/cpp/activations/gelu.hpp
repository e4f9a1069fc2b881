// Gaussian error linear unit: x Phi(x). Largest errors: value 7 ULP, also far to the left, where Phi comes from its own
// tail; derivative 9 ULP of the larger of the result and 1/8 near its zero at -0.75, elsewhere of the result. Results
// below 2^-118 (f64: 2^-1011) may be 0.
#pragma once

#include "../simd/normal.hpp"

namespace lossk {
namespace {

template <class T>
struct gelu_unit {
    static constexpr const char* name = "gelu";
    static constexpr int parameters = 0;

    explicit gelu_unit(const double*) {}

    template <class V>
    V value(V x) const {
        return max(T(-40), x) * normal_cdf(x);
    }

    template <class V>
    V derivative(V x) const {
        const normal_parts<V> at = normal(x);
        const V density = at.bell * T(0.39894228040143267794);
        const V inside = max(T(-40), min(T(40), x));
        return fma(inside, density, x < T(0) ? at.tail : T(1) - at.tail);
    }
};

}  // namespace
}  // namespace lossk
