// Hinge embedding: z where y = 1, max(0, margin - z) where y = -1; any other y takes both, NaN stays. The tie has the
// gradient -1.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct hinge_embedding : of_signs {
    static constexpr const char* name = "hinge_embedding";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    T margin;
    explicit hinge_embedding(const double* p) : margin(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V slack = margin - z;
        const bits<V> alike = y != T(-1), apart = y != T(1);
        const V value = keep<V>(alike, z) + keep<V>(apart, max(T(0), slack));
        const V grad = keep<V>(alike, splat<V>(1)) - keep<V>(apart & (slack >= T(0)), splat<V>(1));
        return {choose<V>(y == y, value, y), choose<V>(y == y, grad, y), V{}};
    }
};

}  // namespace
}  // namespace lossk
