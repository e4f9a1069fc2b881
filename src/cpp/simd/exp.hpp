// exp, exp_flush, exp_over, exp_quick, expm1: one vec in, one vec out. math.hpp says how the stated ULPs were measured.
#pragma once

#include "constants.hpp"

namespace lossk {
namespace {

// Whether fma() is one rounding: not on the x86-64 baseline.
#if defined(__FMA__) || defined(__aarch64__)
constexpr bool fma_rounds_once = true;
#else
constexpr bool fma_rounds_once = false;
#endif

// x = n ln 2 + r with integer n and |r| <= ln(2)/2; r = high + low.
template <class V>
struct exp_parts {
    V n, high, low, r, scale;
};

// scale = 2^(n + shift), which must be a normal number; n + shift = -bias gives 0 instead.
template <class V>
inline exp_parts<V> reduce(V x, int shift = 0) {
    using T = lane_t<V>;
    using k = constants<T>;
    // The addition rounds x / ln 2 to an integer, which is then in the low bits of t. As the bias is in there too,
    // moving these bits to the exponent field gives the power of two: no conversion, no integer addition.
    const T magic = k::to_integer + T(k::bias + shift);
    const V t = fma(x, k::log2e, magic);
    const V n = t - magic;
    // n ln2_hi is exact and close to x: high has no rounding error, with or without a true fma.
    const V high = fma(n, -k::ln2_hi, x);
    return {n, high, n * -k::ln2_lo, fma(n, -k::ln2_lo, high), from_bits<V>(as_bits(t) << k::fraction_bits)};
}

// scale * exp(r).
template <class V>
inline V scaled_exp(const exp_parts<V>& x, V scale) {
    using T = lane_t<V>;
    using k = constants<T>;
    const V tail = polynomial(x.r, k::exp_poly);
    if constexpr (fma_rounds_once) return fma(scale * x.r, fma(x.r, tail, T(1)), scale);
    // Rounding twice costs the 1 ULP unless high enters the last sum but one by itself, without the rounding of r.
    return scale + scale * (x.high + (x.low + x.r * x.r * tail));
}

// exp(x), through subnormals to 0 and up to infinity. f32: 0.90 ULP, f64: 0.95.
template <class V>
inline V exp(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const exp_parts<V> parts = reduce(max(k::exp_zero, min(k::exp_inf, x)));
    const V n = parts.n;
    const V e = scaled_exp(parts, splat<V>(T(1)));
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4)
        return _mm512_scalef_ps(e, n);
    else
        return _mm512_scalef_pd(e, n);
#else
    // 2^n may be out of range where 2^n e is not: two factors, each with half of n, of which only the second rounds.
    const T magic = k::to_integer + T(k::bias);
    const V half = fma(n, T(0.5), magic);
    const V rest = (n - (half - magic)) + magic;
    return e * from_bits<V>(as_bits(half) << k::fraction_bits) * from_bits<V>(as_bits(rest) << k::fraction_bits);
#endif
}

// exp(x) for x <= 88 (f32), 709 (f64). Results below 2^-126.5 (2^-1022.5) are 0, so exp_flush(-inf) is.
// f32: 0.90 ULP, f64: 0.95. With a true fma 13 instructions for f32, 18 for f64.
template <class V>
inline V exp_flush(V x) {
    // At flush_zero n is -bias and the scale 0.
    const exp_parts<V> parts = reduce(max(constants<lane_t<V>>::flush_zero, x));
    return scaled_exp(parts, parts.scale);
}

// exp(x), up to infinity; results below 2^-125 (2^-1021) may be 0. f32: 0.90 ULP, f64: 0.95.
template <class V>
inline V exp_over(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    // Half of it has a scale in range wherever it is finite itself.
    const exp_parts<V> parts = reduce(max(k::flush_zero + T(0.69), min(k::exp_inf, x)), -1);
    const V half = scaled_exp(parts, parts.scale);
    return half + half;
}

// exp(x - r), where x - r <= 80, for a reference r of so many steps of ln 2: as steps go into the exponent, subtracting
// r costs nothing. It is what softmax needs of exp, in 11 instructions for f32 with a true fma; else it is exp_flush.
// -inf gives 0. The error is that of exp_quick, which is the same from 0, at x - r.
template <class T>
class exp_from {
    using k = constants<T>;
    static constexpr bool quick = sizeof(T) == 4 && fma_rounds_once;
    // The quick one is 2^(x log2e - steps), log2e as rounded to f32: its step is the inverse of that. Eighths of steps
    // are looked up, so that a short polynomial does.
    static constexpr int eighth_bits = k::fraction_bits - 3;
    static constexpr double step = quick ? 1 / static_cast<double>(k::log2e) : 0x1.62e42fefa39efp-1;
    int steps_;
    T floor_, magic_;

    explicit exp_from(int steps)
        : steps_(steps),
          floor_(static_cast<T>(static_cast<double>(k::flush_zero) + steps * step)),
          magic_(k::to_integer / T(quick ? 8 : 1) + T(k::bias - steps)) {}

public:
    // References up to here are exact enough; what lies beyond is to be subtracted.
    static constexpr T limit = sizeof(T) == 8 ? T(2048) : quick ? T(4096) : T(256);

    // The nearest reference.
    static exp_from near(T x) {
        const double n = static_cast<double>(x) * (1 / step);
        return exp_from(static_cast<int>(n < 0 ? n - 0.5 : n + 0.5));
    }
    static exp_from zero() { return exp_from(0); }
    double reference() const { return steps_ * step; }

    template <class V>
    V operator()(V x) const {
        x = max(floor_, x);
        if constexpr (quick) {
            // As in reduce(), but x / ln 2 = n + i/8 + f, of which 8 n + i is in the low bits of t.
            const V t = fma(x, k::log2e, magic_);
            const V f = fma(x, splat<V>(k::log2e), magic_ - t);
            const V scale = from_bits<V>((as_bits(t) << eighth_bits) + look_up(k::eighths, as_bits(t)));
            return fma(scale * f, polynomial(f, k::quick_poly), scale);
        } else {
            const exp_parts<V> parts = reduce(x, -steps_);
            return scaled_exp(parts, parts.scale);
        }
    }
};

// exp(x) for x <= 80. f32: relative error below 2^-22 + |x| 2^-26 with a true fma, but results below 2^-126 are
// anything from 0 to 2^-126. exp_quick(0) is 1.
template <class V>
inline V exp_quick(V x) {
    return exp_from<lane_t<V>>::zero()(x);
}

// exp(x) - 1, accurate where x is tiny. f32: 1.64 ULP, f64: 1.7.
template <class V>
inline V expm1(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    // 2^n exp(r) - 1 = 2 (h (exp(r) - 1) + (h - 1/2)) with h = 2^(n-1), as n may be 128 (1024), where 2^n is infinite.
    const exp_parts<V> parts = reduce(max(k::expm1_minus_one, min(k::exp_inf, x)), -1);
    const V e = parts.high + fma(parts.r * parts.r, polynomial(parts.r, k::exp_poly), parts.low);
    const V half = fma(parts.scale, e, parts.scale - T(0.5));
    return abs(x) < T(1e-20) ? x : half + half;
}

}  // namespace
}  // namespace lossk
