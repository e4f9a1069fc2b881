// Focal: binary cross-entropy of a logit z, times (1 - p_t)^gamma and alpha_t.
// With p = sigmoid(z) and q = 1 - p: alpha_t = alpha y + (1 - alpha)(1 - y), and 1 - p_t = y q + (1 - y) p =: m,
// with m' = (1 - 2y) p q and m'' = m' (q - p). For c the cross-entropy and f = alpha_t m^gamma, with the derivatives f1
// and f2 with respect to m:
//     loss = f c,  gradient = f c' + f1 m' c,  second derivative = f p q + 2 f1 m' c' + (f2 m'^2 + f1 m'') c
#pragma once

#include "domain.hpp"
#include "logit.hpp"
#include "power.hpp"

namespace lossk {
namespace {

template <class T, bool square>
struct focal_power : of_shares {
    static constexpr const char* name = "focal";
    static constexpr int parameters = 2;

    T yes, no, gamma;  // alpha_t of both classes; negative alpha: 1
    fixed_power<T> power;
    explicit focal_power(const double* p)
        : yes(p[0] < 0 ? T(1) : static_cast<T>(p[0])),
          no(p[0] < 0 ? T(1) : static_cast<T>(1 - p[0])),
          gamma(static_cast<T>(p[1])),
          power(p[1]) {}

    // f, f1 m' and f2 m'^2.
    template <class V>
    point<V> factor(V weight, V m, V slope) const {
        if constexpr (square) {
            const V both = weight * slope;
            return {weight * m * m, T(2) * both * m, T(2) * both * slope};
        }
        const V f = weight * power(m), s = slope / max(constants<T>::smallest_normal, m), f1 = f * (gamma * s);
        return {f, f1, f1 * ((gamma - T(1)) * s)};
    }

    template <class V>
    point<V> operator()(V z, V y) const {
        constexpr T huge = T(1) / constants<T>::smallest_normal;
        const logit<V> at(z);
        const V other = T(1) - y, c = at.cross_entropy(y, other), slope = at.slope(y, other), spread = at.p * at.q;
        const auto [f, f1, f2] = factor(yes * y + no * other, y * at.q + other * at.p, (other - y) * spread);
        // Where z is infinite, m' is 0 and c may be infinite: their product is 0.
        const V finite = min(huge, c);
        return {f * c, fma(f1, finite, f * slope), f * spread + T(2) * f1 * slope + fma(f1, at.q - at.p, f2) * finite};
    }
};

template <class T>
struct focal : focal_power<T, false> {
    using focal_power<T, false>::focal_power;
    static constexpr bool branches = true;
    using usual = focal_power<T, true>;
    static bool is_usual(const double* p) { return p[1] == 2; }
};

}  // namespace
}  // namespace lossk
