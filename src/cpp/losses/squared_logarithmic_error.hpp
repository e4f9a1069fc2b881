// Squared logarithmic error: d^2 with d = log(1 + max(z, eps)) - log(1 + max(y, eps)).
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct squared_logarithmic_error {
    static constexpr const char* name = "squared_logarithmic_error";
    static constexpr int parameters = 1;
    static constexpr bool is_long = true;

    T eps;
    explicit squared_logarithmic_error(const double* p) : eps(static_cast<T>(p[0])) {}

    // d = log(1 + u) with u = (z - y) / (1 + y), which keeps the digits of a small u.
    template <class V>
    point<V> operator()(V z, V y) const {
        const V a = max(eps, z), b = max(eps, y);
        const V other = T(1) + b, u = (a - b) / other, inverse = T(1) / (T(1) + a);
        const V d = abs(u) < T(0.5) ? log1p_unit(u) : log((T(1) + a) / other);
        const V slope = T(2) * inverse;
        const bits<V> moves = z >= eps;
        return {d * d, keep<V>(moves, d * slope), keep<V>(moves, (T(1) - d) * slope * inverse)};
    }
};

}  // namespace
}  // namespace lossk
