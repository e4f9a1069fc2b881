// The approximation x (1 + tanh(v / 2)) / 2 of GELU, v = sqrt(8 / pi) (x + 0.044715 x^3), as x sigmoid(v), which does
// not cancel. Largest errors: value 3.5 ULP, and the rounding of v adds 3 |v| ULP where x < 0; derivative 5 ULP with
// the same addition, of the larger of the result and 1/8 near its zero at -0.75. Results below 2^-118 (f64: 2^-1011)
// may be 0.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct gelu_tanh_unit {
    static constexpr const char* name = "gelu_tanh";
    static constexpr int parameters = 0;

    static constexpr T linear = T(1.5957691216057307117), cubic = T(0.071354816272600252);

    explicit gelu_tanh_unit(const double*) {}

    template <class V>
    V value(V x) const {
        const V at = max(T(-40), min(T(40), x));
        return max(T(-40), x) * sigmoid(at * fma(at * at, cubic, linear));
    }

    template <class V>
    V derivative(V x) const {
        // s (1 + x (1 - s) v'), with 1 - s = sigmoid(-v).
        const V at = max(T(-40), min(T(40), x));
        const V square = at * at, v = at * fma(square, cubic, linear);
        return sigmoid(v) * fma(at * fma(square, 3 * cubic, linear), sigmoid(-v), T(1));
    }
};

}  // namespace
}  // namespace lossk
