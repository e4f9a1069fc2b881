// Sigmoid: 1 / (1 + exp(-x)). Largest errors: value 1.9 ULP, derivative 3.5 ULP; results below the smallest normal
// number may be 0.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct sigmoid_unit {
    static constexpr const char* name = "sigmoid";
    static constexpr int parameters = 0;
    static constexpr bool is_common = true;

    explicit sigmoid_unit(const double*) {}

    template <class V>
    V value(V x) const {
        return sigmoid(x);
    }

    template <class V>
    V derivative(V x) const {
        // sigmoid(x) sigmoid(-x) = q (1 - q) with q = sigmoid(-|x|) <= 1/2: neither factor cancels.
        const V q = sigmoid(-abs(x));
        return fma(-q, q, q);
    }
};

}  // namespace
}  // namespace lossk
