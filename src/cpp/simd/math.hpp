// The elementary functions of vec<float> and vec<double>: exp.hpp, log.hpp, and here what is made of them.
//
// Each function states its largest error in ULP over all ISAs. f32: every one of the 2^32 bit patterns (in the domain)
// against libm in double precision. f64: 6 million points, uniform and exponent-uniform, against libquadmath; the
// stated numbers leave a margin for the points not tried. NaN goes through everywhere but in logarithms of
// probabilities.
#pragma once

#include "exp.hpp"
#include "log.hpp"

namespace lossk {
namespace {

// 1 / (1 + exp(-x)); sigmoid(-inf) is 0, results below the smallest normal number may be 0.
// f32: 1.81 ULP, f64: 1.9.
template <class V>
inline V sigmoid(V x) {
    using T = lane_t<V>;
    // top / (1 + e) with e = exp(-|x|), which cannot overflow, and top = 1 for x >= 0, else e. As top - top q with
    // q = e / (1 + e) <= 1/2, the rounding errors of the sum and of the quotient weigh less.
    const V e = exp_flush(-abs(x));
    const V q = e / (T(1) + e);
    const V top = x < T(0) ? e : splat<V>(T(1));
    return fma(-top, q, top);
}

// log(1 + exp(x)); results below the smallest normal number may be 0. f32: 2.07 ULP, f64: 2.1.
template <class V>
inline V softplus(V x) {
    return max(lane_t<V>(0), x) + log1p_unit(exp_flush(-abs(x)));
}

// tanh(x) for |x| <= 1, which is what tanh gives there.
template <class V>
[[gnu::always_inline]] inline V tanh_near(V x) {
    using T = lane_t<V>;
    // x + x^3 (P(x^2) - 1/4): with the exact -1/4 apart, P is small and so are its rounding errors.
    const V z = x * x;
    const V cube = x * z;
    return x + fma(cube, polynomial(z, constants<T>::tanh_poly), T(-0.25) * cube);
}

// tanh(x). f32: 0.98 ULP, f64: 1.
template <class V>
inline V tanh(V x) {
    using T = lane_t<V>;
    const V a = abs(x);
    // (1 - e) / (1 + e) with e = exp(-2a), written as 1 - 2 (e - e q) with q = e / (1 + e). From a = 1 on, e and its
    // errors are a small part of the result.
    const V e = exp_flush(T(-2) * a);
    const V q = e / (T(1) + e);
    const V far = fma(fma(-e, q, e), T(-2), T(1));
    return copysign(a < T(1) ? tanh_near(a) : far, x);
}

}  // namespace
}  // namespace lossk
