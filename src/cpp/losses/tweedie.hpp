// Tweedie, with a logarithmic link: exp(a z)/a - y exp(b z)/b with a = 2 - power, b = 1 - power.
//
// In the limit, exp(a z)/a is z at a = 0, and exp(b z)/b is z at b = 0, where constants are left out; power 0 has y^2/2
// besides, which makes it (exp(z) - y)^2 / 2.
#pragma once

#include "domain.hpp"
#include "log_link.hpp"

namespace lossk {
namespace {

// Where it is compound, 2 > power > 1 and a > 0 > b: neither limit, and one of both terms infinite at most.
template <class T, bool compound>
struct tweedie_power {
    static constexpr const char* name = "tweedie";
    static constexpr int parameters = 1;
    static constexpr bool streams_apart = true;
    static constexpr domain_text domain{"a number of at least 0, above 0 from a power of 2 on", nullptr};

    T a, b, inverse_a, inverse_b;  // inverses only where compound: there nothing cancels
    explicit tweedie_power(const double* p)
        : a(static_cast<T>(2 - p[0])),
          b(static_cast<T>(1 - p[0])),
          inverse_a(static_cast<T>(1 / (2 - p[0]))),
          inverse_b(static_cast<T>(1 / (1 - p[0]))) {}

    // Any number is a target where the power is 0 or below.
    template <class V>
    bits<V> outside(V y) const {
        return a >= T(2) ? bits<V>{} : a <= T(0) ? y <= T(0) : y < T(0);
    }

    static constexpr bool sign_tells = true;
    template <class V>
    static bits<V> mark(V y)
        requires compound
    {
        return of_counts::mark(y);
    }

    template <class V>
    point<V> operator()(V z, V y) const {
        const V first = !compound && a == T(0) ? splat<V>(1) : exp_over(a * z);
        const V second = !compound && b == T(0) ? y : times_exp(y, b * z);
        if constexpr (compound)
            return {first * inverse_a - second * inverse_b, first - second, a * first - b * second};
        else
            return beyond(z, y, first, second);
    }

    template <class V>
    point<V> beyond(V z, V y, V first, V second) const {
        constexpr T inf = T(__builtin_inf());
        // Where both are infinite, the larger decides.
        if (b >= T(0)) second = first == inf ? y * T(0) : second;
        if (a < T(0)) first = keep<V>(second < inf, first);
        const V grad = first - second, hess = b == T(0) ? first : a * first - b * second;
        if (b == T(1)) {
            const V r = exp_over(z) - y;
            return {r * r * T(0.5), grad, hess};
        }
        const V p = a == T(0) ? keep<V>(second != inf, z) : first / a;
        const V q = b == T(0) ? share_of(first, y, z) : second / b;
        return {p - q, grad, hess};
    }
};

template <class T>
struct tweedie : tweedie_power<T, false> {
    using tweedie_power<T, false>::tweedie_power;
    static constexpr bool branches = true;
    using usual = tweedie_power<T, true>;
    static bool is_usual(const double* p) { return p[0] > 1.001 && p[0] < 1.999; }
};

}  // namespace
}  // namespace lossk
