// Adadelta: gradients times the root of the mean square of past moves, divided by that of gradients.
//
// v = rho v + (1 - rho) d^2; move = sqrt(u + eps) / sqrt(v + eps) d; u = rho u + (1 - rho) move^2; p -= lr move.
// Parameters: lr, rho, eps, weight decay. Slots: v, u.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

template <class T>
struct adadelta {
    static constexpr const char* name = "adadelta";
    static constexpr int slots = 2, parameters = 4;
    T lr, rho, fresh, eps;
    coupled_decay<T> decay;

    explicit adadelta(const double* p)
        : lr(static_cast<T>(p[0])),
          rho(static_cast<T>(p[1])),
          fresh(static_cast<T>(1.0 - p[1])),
          eps(static_cast<T>(p[2])),
          decay(p[3]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        slot[0] = fma(slot[0], rho, d * d * fresh);
        const V move = sqrt(slot[1] + eps) / sqrt(slot[0] + eps) * d;
        slot[1] = fma(slot[1], rho, move * move * fresh);
        p -= lr * move;
    }
};

}  // namespace
}  // namespace lossk
