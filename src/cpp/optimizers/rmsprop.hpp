// RMSprop: gradients divided by the root of their running mean square, or of their variance; with or without momentum.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

// v = a v + (1 - a) d^2; r = sqrt(v) + eps, centered: sqrt(v - mean^2) + eps with mean = a mean + (1 - a) d;
// p -= lr d / r, with momentum: b = momentum b + d / r; p -= lr b.
// Parameters: lr, a, eps, weight decay, momentum. Slots: v, then b, then mean, those that the variant has.
template <class T, bool has_momentum, bool is_centered>
struct rmsprop_step {
    static constexpr int parameters = 5, slots = 1 + has_momentum + is_centered;
    static constexpr bool is_common = true;
    T lr, a, fresh, eps, momentum;
    coupled_decay<T> decay;

    explicit rmsprop_step(const double* p)
        : lr(static_cast<T>(p[0])),
          a(static_cast<T>(p[1])),
          fresh(static_cast<T>(1.0 - p[1])),
          eps(static_cast<T>(p[2])),
          momentum(static_cast<T>(p[4])),
          decay(p[3]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        V square = slot[0] = fma(slot[0], a, d * d * fresh);
        if constexpr (is_centered) {
            V& mean = slot[slots - 1];
            mean = fma(mean, a, d * fresh);
            square = fma(-mean, mean, square);
        }
        V move = d / (sqrt(square) + eps);
        if constexpr (has_momentum) move = slot[1] = fma(slot[1], momentum, move);
        p -= lr * move;
    }
};

template <class T>
struct rmsprop : rmsprop_step<T, false, false> {
    static constexpr const char* name = "rmsprop";
    using rmsprop_step<T, false, false>::rmsprop_step;
};
template <class T>
struct rmsprop_momentum : rmsprop_step<T, true, false> {
    static constexpr const char* name = "rmsprop_momentum";
    using rmsprop_step<T, true, false>::rmsprop_step;
};
template <class T>
struct rmsprop_centered : rmsprop_step<T, false, true> {
    static constexpr const char* name = "rmsprop_centered";
    using rmsprop_step<T, false, true>::rmsprop_step;
};
template <class T>
struct rmsprop_centered_momentum : rmsprop_step<T, true, true> {
    static constexpr const char* name = "rmsprop_centered_momentum";
    using rmsprop_step<T, true, true>::rmsprop_step;
};

}  // namespace
}  // namespace lossk
