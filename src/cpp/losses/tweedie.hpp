// Tweedie, with a logarithmic link: exp(a z)/a - y exp(b z)/b with a = 2 - power, b = 1 - power.
//
// In the limit, exp(a z)/a is z at a = 0, and exp(b z)/b is z at b = 0, where constants are left out; power 0 has y^2/2
// besides, which makes it (exp(z) - y)^2 / 2.
#pragma once

#include "log_link.hpp"

namespace lossk {
namespace {

template <class T>
struct tweedie {
    static constexpr const char* name = "tweedie";
    static constexpr int parameters = 1;

    T a, b;
    explicit tweedie(const double* p) : a(static_cast<T>(2 - p[0])), b(static_cast<T>(1 - p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        constexpr T inf = T(__builtin_inf());
        V first = a == T(0) ? splat<V>(1) : exp(a * z), second = b == T(0) ? y : times_exp(y, b * z);
        // Where both are infinite, the larger decides.
        if (b >= T(0)) second = first == inf ? y * T(0) : second;
        if (a < T(0)) first = keep<V>(second < inf, first);
        const V grad = first - second, hess = b == T(0) ? first : a * first - b * second;
        if (b == T(1)) {
            const V r = exp(z) - y;
            return {r * r * T(0.5), grad, hess};
        }
        const V p = a == T(0) ? keep<V>(second != inf, z) : first / a;
        const V q = b == T(0) ? beside(first, y, z) : second / b;
        return {p - q, grad, hess};
    }
};

}  // namespace
}  // namespace lossk
