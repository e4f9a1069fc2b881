// The elementary functions of vec<float> and vec<double>: exp.hpp, log.hpp, and what is made of them.
#pragma once

#include "exp.hpp"
#include "log.hpp"

namespace lossk {
namespace {

// 1 / (1 + exp(-x)).
template <class V>
inline V sigmoid(V x) {
    using T = lane_t<V>;
    // exp only of -|x|, which cannot overflow: top / (1 + e) with top = 1 for x >= 0, else e; written as
    // top - top q, since q <= 1/2 keeps the rounding of the sum and of the quotient small.
    const V e = exp_flush(-abs(x));
    const V q = e / (T(1) + e);
    const V top = x < T(0) ? e : splat<V>(T(1));
    return fma(-top, q, top);
}

// log(1 + exp(x)).
template <class V>
inline V softplus(V x) {
    using T = lane_t<V>;
    return max(T(0), x) + log1p_unit(exp_flush(-abs(x)));
}

// tanh(x).
template <class V>
inline V tanh(V x) {
    using T = lane_t<V>;
    using k = constants<T>;
    const V a = abs(x);
    // a + a^3 (P(a^2) - 1/4): with the exact -1/4 apart, P is small and so are its rounding errors.
    const V z = a * a;
    const V cube = a * z;
    const V near = a + fma(cube, polynomial(z, k::tanh_poly), T(-0.25) * cube);
    // (1 - e) / (1 + e) with e = exp(-2a), written as 1 - 2 (e - e q) with q = e / (1 + e). From a = 1 on, e and its
    // errors are a small part of the result.
    const V e = exp_flush(T(-2) * a);
    const V q = e / (T(1) + e);
    const V far = fma(fma(-e, q, e), T(-2), T(1));
    return copysign(a < T(1) ? near : far, x);
}

}  // namespace
}  // namespace lossk
