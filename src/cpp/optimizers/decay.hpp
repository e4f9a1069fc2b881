// Weight decay as a part of the gradient, which most optimizers share.
#pragma once

#include "../simd/vec.hpp"

namespace lossk {
namespace {

// g + rate p; an infinite parameter is left alone by no decay.
template <class T>
struct coupled_decay {
    T rate;
    bool on;

    explicit coupled_decay(double weight_decay) : rate(static_cast<T>(weight_decay)), on(weight_decay != 0) {}

    template <class V>
    V operator()(V p, V g) const {
        return on ? fma(p, rate, g) : g;
    }
};

}  // namespace
}  // namespace lossk
