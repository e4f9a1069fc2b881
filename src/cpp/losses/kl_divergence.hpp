// Kullback-Leibler divergence of a row: sum of p (log p - z), z log-probabilities; the gradient is -p.
//
// The target y is p, or log p where log_target is set.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct kl_divergence {
    static constexpr const char* name = "kl_divergence";
    static constexpr int parameters = 1;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;
    static constexpr domain_text domain = of_counts::domain;

    bool log_target;
    kl_divergence(const double* p, index) : log_target(p[0] != 0) {}

    template <class V>
    bits<V> outside(V y) const {
        return log_target ? bits<V>{} : of_counts::outside(y);
    }

    template <class V>
    point<V> element(V z, V y, T) const {
        const V p = log_target ? exp(y) : y;
        const V log_p = log_target ? y : log(y);
        const V value = p * (log_p - z);
        // 0 times infinity is 0; NaN stays NaN.
        return {choose<V>((p == T(0)) & (z == z), V{}, value), -p, V{}};
    }
};

}  // namespace
}  // namespace lossk
