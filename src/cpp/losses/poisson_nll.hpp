// Poisson negative log-likelihood: exp(z) - y z for the logarithm z of the mean, or z - y log(z + eps) for the mean z.
//
// The full one adds Stirling's y log y - y + log(2 pi y)/2 for y > 1. With d the logarithm of mean/y that makes
// y (exp(d) - 1 - d) + log(2 pi y)/2, which does not cancel where the terms are large.
#pragma once

#include "domain.hpp"
#include "log_link.hpp"

namespace lossk {
namespace {

// Of the logarithm, not full.
template <class T>
struct poisson_nll_log : of_counts {
    static constexpr int parameters = 3;

    explicit poisson_nll_log(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V mean = exp_over(z);
        return {mean - share_of(mean, y, z), mean - y, mean};
    }
};

template <class T>
struct poisson_nll : of_counts {
    static constexpr const char* name = "poisson_nll";
    static constexpr int parameters = 3;
    static constexpr bool branches = true;
    using usual = poisson_nll_log<T>;
    static bool is_usual(const double* p) { return p[0] != 0 && p[1] == 0; }

    bool log_input, full;
    T eps;
    explicit poisson_nll(const double* p) : log_input(p[0] != 0), full(p[1] != 0), eps(static_cast<T>(p[2])) {}

    template <class V>
    V with_stirling(V z, V y) const {
        V above;  // mean - y - y d
        if (log_input) {
            const V d = z - log(y);
            above = y * (expm1(d) - keep<V>(d != T(__builtin_inf()), d));
        } else {
            const V gap = ((z - y) + eps) / y;
            above = (z - y) - share_of(z, y, abs(gap) < T(0.5) ? log1p(gap) : log((z + eps) / y));
        }
        return above + T(0.5) * (log(y) + T(1.8378770664093455));
    }

    template <class V>
    point<V> of_mean(V z, V y) const {
        const V near = z + eps;
        const bits<V> flat = ((y == T(0)) & (z == z)) | (z == T(__builtin_inf()));
        return {z - share_of(z, y, log(near)), flat ? splat<V>(1) : ((z - y) + eps) / near,
                keep<V>(~flat, y / near / near)};
    }

    template <class V>
    point<V> operator()(V z, V y) const {
        point<V> at = log_input ? usual(nullptr)(z, y) : of_mean(z, y);
        if (full) at.value = y > T(1) ? with_stirling(z, y) : at.value;
        return at;
    }
};

}  // namespace
}  // namespace lossk
