// Sigmoid linear unit (swish): x sigmoid(x). Largest errors: value 2.8 ULP; derivative 5 ULP of the larger of the
// result and 1/8 near its zero at -1.28, elsewhere of the result. Results below 2^-118 (f64: 2^-1011) may be 0.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct silu_unit {
    static constexpr const char* name = "silu";
    static constexpr int parameters = 0;

    explicit silu_unit(const double*) {}

    // Far out the sigmoid is 0 or 1, and infinity times 0 is none of it.
    static constexpr T far = T(1e30);

    template <class V>
    static V value(V x) {
        return max(-far, x) * sigmoid(x);
    }

    template <class V>
    static V derivative(V x) {
        return sigmoid(x) * fma(max(-far, min(far, x)), sigmoid(-x), T(1));
    }
};

}  // namespace
}  // namespace lossk
