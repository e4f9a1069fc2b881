// Jeffreys divergence of a row, the symmetric form of Kullback's and Leibler's: sum of (z - y) (log z - log y) of
// probabilities; the gradient is log(z/y) + 1 - y/z, the second derivative 1/z + y/z^2.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct jeffreys : of_counts {
    static constexpr const char* name = "jeffreys";
    static constexpr int parameters = 0;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;
    static constexpr bool is_long = true;

    jeffreys(const double*, index) {}

    // With u = (y - z) / z: log(y/z) = log(1 + u), and the gradient is -log(1 + u) - u.
    template <class V>
    point<V> element(V z, V y, T) const {
        const V inverse = T(1) / z, r = y - z, u = r * inverse;
        const V ratio = abs(u) < T(0.5) ? log1p_unit(u) : log(y) - log(z);
        const bits<V> none = (z == T(0)) & (y == T(0));
        return {keep<V>(~none, r * ratio), keep<V>(~none, -(ratio + u)),
                keep<V>(~none, (T(1) + y * inverse) * inverse)};
    }
};

}  // namespace
}  // namespace lossk
