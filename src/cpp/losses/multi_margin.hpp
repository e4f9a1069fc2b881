// Multi-class hinge: (1/C) sum over k != t of max(0, margin - z_t + z_k)^p, t the label, p = 1 or 2.
//
// With m_k = max(0, margin - z_t + z_k) the gradient is (1/C) p m_k^(p-1) where m_k > 0, minus their sum at the label.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct multi_margin {
    static constexpr const char* name = "multi_margin";
    static constexpr int parameters = 2;
    static constexpr row_target target = row_target::labels;
    static constexpr bool class_weights_divide = false;

    bool squared;
    T margin, share;
    multi_margin(const double* p, index classes)
        : squared(p[0] > 1), margin(static_cast<T>(p[1])), share(static_cast<T>(1.0 / static_cast<double>(classes))) {}

    template <class V>
    point<V> element(V z, V, T z_t) const {
        // z - z_t first: where m is small, z - z_t is close to -margin and the sum is exact.
        const V m = max(T(0), (z - z_t) + margin);
        const V one = keep<V>(m > T(0), splat<V>(share));
        const V scaled = m * share;
        if (squared) return {m * scaled, scaled + scaled, one + one};
        return {scaled, one, V{}};
    }

    point<double> label(double, const point<double>& others) const { return {0, -others.grad, others.hess}; }
};

}  // namespace
}  // namespace lossk
