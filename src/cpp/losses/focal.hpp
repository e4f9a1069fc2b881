// Focal: binary cross-entropy of a logit z, times (1 - p_t)^gamma and alpha_t.
//
// With p = sigmoid(z) and q = 1 - p: alpha_t = alpha y + (1 - alpha)(1 - y), and 1 - p_t = y q + (1 - y) p =: m,
// with m' = (1 - 2y) p q and m'' = m' (q - p). For c the cross-entropy, f = alpha_t m^gamma, s = m'/m and u = gamma s:
//     loss = f c,  gradient = f (c' + u c),  second derivative = f (p q + 2 u c' + u c (u - s + q - p))
#pragma once

#include "logit.hpp"

namespace lossk {
namespace {

template <class T>
struct focal {
    static constexpr const char* name = "focal";
    static constexpr int parameters = 2;

    T alpha, gamma;  // negative alpha: alpha_t is 1
    int whole;       // gamma = whole + rest
    T rest;
    explicit focal(const double* p)
        : alpha(static_cast<T>(p[0])),
          gamma(static_cast<T>(p[1])),
          whole(p[1] < 16 ? static_cast<int>(p[1]) : 16),
          rest(static_cast<T>(p[1] - whole)) {}

    // m^gamma: the whole part by products, which lose fewer digits than a logarithm.
    template <class V>
    V power(V m) const {
        V f = rest == T(0) ? splat<V>(1) : exp(rest * log(m));
        for (int k = 0; k < whole; ++k) f *= m;
        return f;
    }

    template <class V>
    point<V> operator()(V z, V y) const {
        constexpr T tiny = constants<T>::smallest_normal, huge = T(1) / tiny;
        const logit<V> at(z);
        const V no = T(1) - y, c = at.cross_entropy(y, no), slope = at.slope(y, no);
        const V m = y * at.q + no * at.p;
        const V f = (alpha < T(0) ? splat<V>(1) : alpha * y + (T(1) - alpha) * no) * power(m);
        // Where z is infinite, s is 0 and c may be infinite: their product is 0.
        const V s = (no - y) * at.p * at.q / max(tiny, m), u = gamma * s;
        const V uc = u * min(huge, c);
        return {f * c, f * (slope + uc), f * (at.p * at.q + T(2) * u * slope + uc * (u - s + at.q - at.p))};
    }
};

}  // namespace
}  // namespace lossk
