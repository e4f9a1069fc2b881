// log, log1p, and each without its edges on a part of its domain: one vec in, one vec out. math.hpp says how the stated
// ULPs were measured.
#pragma once

#include "constants.hpp"

namespace lossk {
namespace {

// x = 2^e m with low <= m < 2 low, for normal x > 0.
template <class V>
struct log_parts {
    V e, m;
};

template <class V>
inline log_parts<V> split(V x, lane_t<V> low) {
    using T = lane_t<V>;
    using k = constants<T>;
    using word = vec<typename k::word>;
    // Adding bits(1) - bits(low) carries into the exponent field exactly where the significand is 2 low or more.
    const word start = (word)splat<V>(low);
    const word b = (word)x + ((word)splat<V>(T(1)) - start);
    // The biased exponent as low bits of to_integer: a conversion from integer that every ISA has.
    const V biased = (V)((b >> k::fraction_bits) | (word)splat<V>(k::to_integer));
    const word fraction = (word)splat<V>(k::smallest_normal) - 1;
    return {biased - (k::to_integer + T(k::bias)), (V)((b & fraction) + start)};
}

// e ln 2 + log(1 + f), for 2/3 < 1 + f <= 3/2.
template <class V>
inline V log_sum(V e, V f) {
    using T = lane_t<V>;
    using k = constants<T>;
    // With s = f / (2 + f): log(1 + f) = log((1 + s) / (1 - s)) = 2s + s z P(z), z = s^2; and as 2s = f - s f, it is
    // f - s (f - z P(z)). So the large term f has no rounding error; the two small terms are added to each other first.
    const V s = f / (T(2) + f);
    const V z = s * s;
    const V small = fma(-s, fma(-z, polynomial(z, k::log_poly), f), e * k::ln2_lo);
    return fma(e, k::ln2_hi, f + small);
}

// log(x): -inf at 0, NaN below. f32: 0.96 ULP, f64: 1.
template <class V>
inline V log(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const T inf = T(__builtin_inf());
    const auto subnormal = x < k::smallest_normal;
    const auto [e, m] = split(subnormal ? x * k::up : x, T(0.70710678118654752));
    const V y = log_sum(subnormal ? e - T(k::up_exponent) : e, m - T(1));
    const V edge = x == T(0) ? splat<V>(-inf) : splat<V>(T(__builtin_nan("")));
    return x > T(0) ? (x == inf ? x : y) : edge;
}

// log(1 + x): accurate where x is tiny, -inf at -1, NaN below. f32: 0.99 ULP, f64: 1.
template <class V>
inline V log1p(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const T inf = T(__builtin_inf());
    // f = (1 + x) / 2^e - 1 = x / 2^e + (1 / 2^e - 1), from x itself rather than from the rounded 1 + x. With 3/4 as
    // the lower end, f is exact for e = -1, 0, 1, where log(1 + x) is small. 4 / 2^e, unlike 1 / 2^e, is normal always.
    const auto [e, m] = split(T(1) + x, T(0.75));
    const V four = from_bits<V>(as_bits(k::to_integer + T(k::bias + 2) - e) << k::fraction_bits);
    const V f = fma(x * four, T(0.25), fma(four, T(0.25), T(-1)));
    const V y = ((x == T(0)) | (x == inf)) ? x : log_sum(e, f);
    const V edge = x == T(-1) ? splat<V>(-inf) : splat<V>(T(__builtin_nan("")));
    return x > T(-1) ? y : edge;
}

// log(1 + x) for 0 <= x <= 2^64: log1p without its edges. f32: 0.98 ULP, f64: 1.
template <class V>
inline V log1p_positive(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const V e = split(T(1) + x, T(0.75)).e;
    const V inverse = from_bits<V>(as_bits(k::to_integer + T(k::bias) - e) << k::fraction_bits);  // 1 / 2^e
    return log_sum(e, fma(x, inverse, inverse - T(1)));
}

// log(x) for 0 <= x <= 1: anything below -100 at 0. f32: 0.96 ULP, f64: 1.
template <class V>
inline V log_probability(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const auto [e, m] = split(abs(x) * k::up, T(0.70710678118654752));  // abs: of -0
    return log_sum(e - T(k::up_exponent), m - T(1));
}

// log(1 - x) for 0 <= x <= 1: anything below -100 at 1. f32: 0.99 ULP, f64: 1.1.
template <class V>
inline V log_other_probability(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const V other = T(1) - x;
    const auto [e, m] = split(other, T(0.75));
    const V inverse = from_bits<V>(as_bits(k::to_integer + T(k::bias) - e) << k::fraction_bits);  // 1 / 2^e
    const V y = log_sum(e, fma(-x, inverse, inverse - T(1)));
    return other > T(0) ? y : splat<V>(T(-200));
}

// log(1 + x) for -1/2 <= x <= 1: log_sum with f = x and e = 0, the polynomial reaching up to |s| = 1/3.
// f32: 1.32 ULP, f64: 1.4.
template <class V>
inline V log1p_unit(V x) {
    const V s = x / (lane_t<V>(2) + x);
    const V z = s * s;
    return fma(-s, fma(-z, polynomial(z, constants<lane_t<V>>::unit_poly), x), x);
}

}  // namespace
}  // namespace lossk
