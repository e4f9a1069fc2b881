// Scaled exponential linear unit: scale x where x > 0, scale alpha (exp(x) - 1) elsewhere. Largest errors: 4 ULP for
// value and derivative.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct selu_unit {
    static constexpr const char* name = "selu";
    static constexpr int parameters = 0;
    static constexpr bool is_common = true;

    static constexpr T scale = T(1.0507009873554804934193349852946);
    static constexpr T negative_scale = T(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717);

    explicit selu_unit(const double*) {}

    template <class V>
    V value(V x) const {
        return choose<V>(x > T(0), x * scale, expm1(min(T(0), x)) * negative_scale);
    }

    template <class V>
    V derivative(V x) const {
        return choose<V>(x > T(0), splat<V>(scale), exp(min(T(0), x)) * negative_scale);
    }
};

}  // namespace
}  // namespace lossk
