// Jensen-Shannon divergence of a row: the mean of the divergences of z and of y, probabilities, from their mean m;
// half the sum of y log(y/m) + z log(z/m). The gradient is log(z/m) / 2, the second derivative y / (2 z (y + z)).
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct jensen_shannon : of_counts {
    static constexpr const char* name = "jensen_shannon";
    static constexpr int parameters = 0;
    static constexpr row_target target = row_target::elements;
    static constexpr bool class_weights_divide = false;
    static constexpr bool is_long = true;

    jensen_shannon(const double*, index) {}

    // With d = (y - z) / (y + z): y/m = 1 + d, z/m = 1 - d. Where d is small, the sum of both terms is, too, and
    // m (log(1 - d^2) + d log((1 + d) / (1 - d))) keeps its digits. A subnormal sum is scaled up: its inverse would be
    // infinite.
    template <class V>
    point<V> element(V z, V y, T) const {
        using k = constants<T>;
        const V both = y + z, up = both < k::smallest_normal ? splat<V>(k::up) : splat<V>(T(1));
        const V large_y = y * up, large_z = z * up, inverse = T(1) / max(k::smallest_normal, both * up);
        const V d = (large_y - large_z) * inverse;
        const bits<V> near = abs(d) < T(0.5), negative = (z < T(0)) | (y < T(0));
        const V of_y = near ? log1p_unit(d) : log(T(2) * large_y * inverse);
        const V of_z = near ? log1p_unit(-d) : log(T(2) * large_z * inverse);
        const V close = T(0.5) * both * (log1p_unit(keep<V>(near, -d * d)) + d * (of_y - of_z));
        const V far = keep<V>(y != T(0), y * of_y) + keep<V>(z != T(0), z * of_z);
        const V value = near ? close : far;
        const V hess = keep<V>(y != T(0), T(0.5) * large_y * inverse / z);
        return {nan_where(negative, T(0.5) * value), nan_where(negative, T(0.5) * of_z), nan_where(negative, hess)};
    }
};

}  // namespace
}  // namespace lossk
