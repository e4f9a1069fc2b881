// The standard normal distribution: one vec in, one vec out. math.hpp says how the stated ULPs were measured.
#pragma once

#include "math.hpp"

namespace lossk {
namespace {

// At x with a = |x|: Phi(-a), which is below 1/2, and exp(-a^2 / 2).
template <class V>
struct normal_parts {
    V tail, bell;
};

template <class V>
inline normal_parts<V> normal(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const V a = min(T(40), abs(x));  // from where on both are 0
    // a^2 = square + rest: its rounding would cost |x|^2 / 2 ULP.
    V square = a * a, rest;
    if constexpr (fma_rounds_once) {
        rest = fma(a, a, -square);
    } else {
        constexpr auto low_half = (typename bits_type<T>::type(1) << (k::fraction_bits / 2 + 1)) - 1;
        const V upper = from_bits<V>(as_bits(a) & ~low_half);  // its square is exact
        const V lower = (a - upper) * (a + upper);
        square = upper * upper + lower;
        rest = (upper * upper - square) + lower;
    }
    const V e = exp_flush(square * T(-0.5));
    const V bell = fma(e, rest * T(-0.5), e);
    const V t = T(1) / (a + T(4));
    return {bell * (t * polynomial(t, k::mills_poly)), bell};
}

// Phi(x), the probability of less than x; its relative error is as small far to the left, where results below the
// smallest normal number may be 0. f32: 7 ULP, f64: 8.
template <class V>
inline V normal_cdf(V x) {
    const V tail = normal(x).tail;
    return x < lane_t<V>(0) ? tail : lane_t<V>(1) - tail;
}

}  // namespace
}  // namespace lossk
