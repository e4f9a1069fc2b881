// Multi-label hinge: (1/C) sum over labels t and over k that are none of max(0, 1 - z_t + z_k).
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct multi_label_margin {
    static constexpr const char* name = "multi_label_margin";
    static constexpr int parameters = 0;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;

    T share;
    multi_label_margin(const double*, index classes) : share(static_cast<T>(1.0 / static_cast<double>(classes))) {}

    template <class V>
    point<V> other(V z, T z_t) const {
        // z - z_t first: where the sum is small, z - z_t is close to -1 and the sum is exact.
        const V m = max(T(0), (z - z_t) + T(1));
        return {m * share, keep<V>(m > T(0), splat<V>(share)), V{}};
    }
};

}  // namespace
}  // namespace lossk
