// m^gamma of numbers m >= 0: the whole part by products, which lose fewer digits than a logarithm.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct fixed_power {
    int whole;  // gamma = whole + rest
    T rest;
    explicit fixed_power(double gamma)
        : whole(gamma < 16 ? static_cast<int>(gamma) : 16), rest(static_cast<T>(gamma - whole)) {}

    template <class V>
    V operator()(V m) const {
        V f = rest == T(0) ? splat<V>(1) : exp(rest * log(m));
        for (int k = 0; k < whole; ++k) f *= m;
        return f;
    }
};

}  // namespace
}  // namespace lossk
