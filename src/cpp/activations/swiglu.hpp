// SwiGLU: silu(x) gate. Largest errors: value 3 ULP, gradient of the gate 3 ULP, of x that of silu's derivative and 1
// ULP.
#pragma once

#include "silu.hpp"

namespace lossk {
namespace {

template <class T>
struct swiglu_unit {
    static constexpr const char* name = "swiglu";

    template <class V>
    static V value(V x, V gate) {
        return silu_unit<T>::value(x) * gate;
    }
    template <class V>
    static V by_x(V x, V gate, V c) {
        return c * gate * silu_unit<T>::derivative(x);
    }
    template <class V>
    static V by_gate(V x, V, V c) {
        return c * silu_unit<T>::value(x);
    }
};

}  // namespace
}  // namespace lossk
