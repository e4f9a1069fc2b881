// Mish: x tanh(softplus(x)). Largest errors: value 5 ULP; derivative 9 ULP of the larger of the result and 1/8 near its
// zero at -1.19, elsewhere of the result. Results below 2^-118 (f64: 2^-1011) may be 0.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct mish_unit {
    static constexpr const char* name = "mish";
    static constexpr int parameters = 0;

    explicit mish_unit(const double*) {}

    // With e = exp(-|x|), tanh(softplus(x)) is top / whole: (1 + 2 e) / (1 + 2 e + 2 e^2) for x >= 0, else
    // (2 e + e^2) / (2 + 2 e + e^2). Its derivative is 4 (1 + e) e^2 / whole^2 for x >= 0, else 4 (1 + e) e / whole^2.
    template <class V>
    struct parts {
        V e, top, whole;
    };
    template <class V>
    static parts<V> at(V x) {
        const V e = exp_flush(-abs(x)), twice = e + e;
        const auto negative = x < T(0);
        const V top = choose<V>(negative, fma(e, e, twice), twice + T(1));
        return {e, top, top + choose<V>(negative, splat<V>(T(2)), twice * e)};
    }

    template <class V>
    V value(V x) const {
        const parts<V> is = at(x);
        return max(T(-1e30), x) * (is.top / is.whole);
    }

    template <class V>
    V derivative(V x) const {
        const parts<V> is = at(x);
        const V slope = choose<V>(x < T(0), is.e, is.e * is.e) * (T(4) + T(4) * is.e);
        return fma(max(T(-1e30), min(T(1e30), x)), slope / is.whole, is.top) / is.whole;
    }
};

}  // namespace
}  // namespace lossk
