// Pseudo-Huber: delta^2 (sqrt(1 + (r/delta)^2) - 1), with r = z - y.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct pseudo_huber {
    static constexpr const char* name = "pseudo_huber";
    static constexpr int parameters = 1;
    static constexpr bool streams_apart = true;

    T delta, inverse_delta;
    explicit pseudo_huber(const double* p)
        : delta(static_cast<T>(p[0])),
          inverse_delta(delta < constants<T>::smallest_normal ? T(1) / constants<T>::smallest_normal : T(1) / delta) {}

    // With u = r/delta and s = sqrt(1 + u^2), delta^2 (s - 1) is r^2 / (1 + s), which does not cancel. Where s is |u|
    // to the last bit, u^2 may overflow, and s - 1 is |u| - 1.
    template <class V>
    point<V> operator()(V z, V y) const {
        constexpr T line = sizeof(T) == 4 ? T(0x1p13) : T(0x1p27);
        const V r = z - y, u = r * inverse_delta, s = sqrt(fma(u, u, T(1))), more = T(1) + s;
        const bits<V> far = abs(u) > line;
        const V both = T(1) / (s * more), inverse = more * both;  // one division for 1 / s and 1 / (1 + s)
        const V value = r * (r * (s * both));
        return {far ? delta * (abs(r) - delta) : value, far ? copysign(splat<V>(delta), r) : r * inverse,
                keep<V>(~far, inverse * inverse * inverse)};
    }
};

}  // namespace
}  // namespace lossk
