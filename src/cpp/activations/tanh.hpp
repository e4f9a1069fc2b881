// Hyperbolic tangent. Largest errors: value 1 ULP, derivative 3.5 ULP; derivatives below four times the smallest
// normal number may be 0.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct tanh_unit {
    static constexpr const char* name = "tanh";
    static constexpr int parameters = 0;
    static constexpr bool is_common = true;

    explicit tanh_unit(const double*) {}

    template <class V>
    V value(V x) const {
        return tanh(x);
    }

    template <class V>
    V derivative(V x) const {
        // 1 - tanh(x)^2 = 4 q (1 - q) with q = sigmoid(-2|x|) <= 1/2: neither factor cancels.
        const V q = sigmoid(T(-2) * abs(x));
        return T(4) * fma(-q, q, q);
    }
};

}  // namespace
}  // namespace lossk
