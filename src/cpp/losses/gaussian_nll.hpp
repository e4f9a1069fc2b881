// Gaussian negative log-likelihood: (log v + (z - y)^2 / v) / 2 with v = max(var, eps); the full one adds log(2 pi)/2.
//
// Derivatives are with respect to z, or to v, or (as "gradient" and "second derivative") the first of both.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct gaussian_nll {
    static constexpr const char* name = "gaussian_nll";
    static constexpr int parameters = 2;
    static constexpr int inputs = 3;
    static constexpr domain_text domain{"var of at least 0", nullptr};

    T constant, eps;
    explicit gaussian_nll(const double* p)
        : constant(p[0] != 0 ? T(0.91893853320467274) : T(0)), eps(static_cast<T>(p[1])) {}

    template <class V>
    bits<V> outside(V, V, V var) const {
        return var < T(0);
    }

    template <class V>
    point<V> operator()(V z, V y, V var) const {
        const V v = max(eps, var), r = z - y, share = r / v;
        return {fma(T(0.5) * r, share, fma(splat<V>(T(0.5)), log(v), splat<V>(constant))), share, T(1) / v};
    }
};

template <class T>
struct gaussian_nll_var : gaussian_nll<T> {
    static constexpr const char* name = "gaussian_nll_var";
    using gaussian_nll<T>::gaussian_nll;

    template <class V>
    point<V> operator()(V z, V y, V var) const {
        const point<V> at = gaussian_nll<T>::operator()(z, y, var);
        const V square = at.grad * at.grad;
        return {at.value, T(0.5) * (at.hess - square), at.hess * (square - T(0.5) * at.hess)};
    }
};

template <class T>
struct gaussian_nll_both : gaussian_nll<T> {
    static constexpr const char* name = "gaussian_nll_both";
    using gaussian_nll<T>::gaussian_nll;

    template <class V>
    point<V> operator()(V z, V y, V var) const {
        const point<V> at = gaussian_nll<T>::operator()(z, y, var);
        return {at.value, at.grad, T(0.5) * (at.hess - at.grad * at.grad)};
    }
};

}  // namespace
}  // namespace lossk
