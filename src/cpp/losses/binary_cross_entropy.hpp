// Binary cross-entropy of a probability z: -y log z - (1 - y) log(1 - z), the logarithms cut off at -100.
#pragma once

#include "domain.hpp"
#include "smoothed_target.hpp"

namespace lossk {
namespace {

template <class T>
struct binary_cross_entropy {
    static constexpr const char* name = "binary_cross_entropy";
    static constexpr int parameters = 0;
    static constexpr domain_text domain{"z and y in [0, 1]", of_shares::domain.of_signs};

    explicit binary_cross_entropy(const double*) {}

    // z (1 - z) is negative where z is outside [0, 1], and NaN where z is.
    template <class V>
    bits<V> outside(V z, V y) const {
        return ~(z * (T(1) - z) >= T(0)) | of_shares::outside(y);
    }

    // The gradient is (z - y) / (z (1 - z)), the divisor at least 1e-12. The value is NaN where z is outside [0, 1].
    template <class V>
    point<V> operator()(V z, V y) const {
        const V other = T(1) - z, no = T(1) - y, both = z * other;
        const V value = -(y * max(T(-100), log_probability(z)) + no * max(T(-100), log_other_probability(z)));
        const V inverse = T(1) / max(T(1e-12), both);
        const V a = other * inverse, b = z * inverse;
        return {nan_where<V>(~(both >= T(0)), value), (z - y) * inverse, y * a * a + no * b * b};
    }
};

// With label smoothing.
template <class T>
struct binary_cross_entropy_smoothed : binary_cross_entropy<T> {
    static constexpr const char* name = "binary_cross_entropy_smoothed";
    static constexpr int parameters = 1;
    static constexpr bool is_long = true;

    smoothed_target<T> between;
    explicit binary_cross_entropy_smoothed(const double* p) : binary_cross_entropy<T>(p), between(p[0]) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        return binary_cross_entropy<T>::operator()(z, between(y));
    }
};

}  // namespace
}  // namespace lossk
