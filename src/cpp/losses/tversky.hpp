// Tversky loss of a row of probabilities z, y in [0, 1]: 1 - N/D with N = sum z y + smooth and
// D = N + alpha sum z (1 - y) + beta sum (1 - z) y. Dice is that of alpha = beta = 1/2.
//
// With b = dD/dz = alpha + (1 - alpha - beta) y the gradient is (b N/D - y) / D, the second derivative -2 b/D times it.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct tversky {
    static constexpr const char* name = "tversky";
    static constexpr int parameters = 3;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;
    static constexpr bool is_long = true;

    T alpha, beta;
    double smooth;
    tversky(const double* p, index) : alpha(static_cast<T>(p[0])), beta(static_cast<T>(p[1])), smooth(p[2]) {}

    template <class V>
    V wrong(V z, V y) const {
        return alpha * z * (T(1) - y) + beta * (T(1) - z) * y;
    }

    struct shared {
        T inverse, ratio;  // 1/D, N/D
    };
    template <class V>
    V gather(V z, V y) const {
        return z * y;
    }
    template <class V>
    V gather_too(V z, V y) const {
        return wrong(z, y);
    }
    shared share(double right, double wrong) const {
        const double inverse = 1 / (right + smooth + wrong);
        return {static_cast<T>(inverse), static_cast<T>((right + smooth) * inverse)};
    }

    // 1 - N/D is the sum of what is wrong, over D: nothing cancels.
    template <class V>
    point<V> element(V z, V y, const shared& row) const {
        const V b = alpha + (T(1) - alpha - beta) * y;
        const V grad = (b * row.ratio - y) * row.inverse;
        return {wrong(z, y) * row.inverse, grad, T(-2) * b * row.inverse * grad};
    }
};

}  // namespace
}  // namespace lossk
