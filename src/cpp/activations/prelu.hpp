// Leaky rectifier whose slope is learned: x where x > 0, slope x elsewhere; the slope is the gate. Value and gradients
// 0.5 ULP each.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct prelu_unit {
    static constexpr const char* name = "prelu";

    template <class V>
    static V value(V x, V slope) {
        return choose<V>(x > T(0), x, x * slope);
    }
    template <class V>
    static V by_x(V x, V slope, V c) {
        return choose<V>(x > T(0), c, choose<V>(x == x, c * slope, x));
    }
    template <class V>
    static V by_gate(V x, V, V c) {
        return choose<V>(x > T(0), V{}, c * x);
    }
};

}  // namespace
}  // namespace lossk
