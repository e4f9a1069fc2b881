// Gated linear unit: x sigmoid(gate). Largest errors: value 2.5 ULP, gradients 3 ULP (x), 5 ULP (gate).
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct glu_unit {
    static constexpr const char* name = "glu";

    template <class V>
    static V value(V x, V gate) {
        return x * sigmoid(gate);
    }
    template <class V>
    static V by_x(V, V gate, V c) {
        return c * sigmoid(gate);
    }
    template <class V>
    static V by_gate(V x, V gate, V c) {
        const V q = sigmoid(-abs(gate));
        return c * x * fma(-q, q, q);
    }
};

}  // namespace
}  // namespace lossk
