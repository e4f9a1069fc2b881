// Multi-label soft margin of a row: (1/C) sum over classes of w times the binary cross-entropy of a logit z with y.
#pragma once

#include "logit.hpp"

namespace lossk {
namespace {

template <class T>
struct multi_label_soft_margin {
    static constexpr const char* name = "multi_label_soft_margin";
    static constexpr int parameters = 0;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;
    static constexpr bool is_long = true;
    static constexpr bool weighs_elements = true;

    T share;
    multi_label_soft_margin(const double*, index classes) : share(static_cast<T>(1.0 / static_cast<double>(classes))) {}

    template <class V>
    point<V> element(V z, V y, V w) const {
        const logit<V> at(z);
        const V no = T(1) - y, factor = w * share;
        return {at.cross_entropy(y, no) * factor, at.slope(y, no) * factor, at.p * at.q * factor};
    }
};

}  // namespace
}  // namespace lossk
