// Adagrad: gradients divided by the root of the sum of all their squares.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

// s += d^2; p -= rate d / (sqrt(s) + eps). Parameters: rate (lr / (1 + (t - 1) lr_decay)), eps, weight decay.
template <class T>
struct adagrad {
    static constexpr const char* name = "adagrad";
    static constexpr int slots = 1, parameters = 3;
    static constexpr bool is_common = true;
    T rate, eps;
    coupled_decay<T> decay;

    explicit adagrad(const double* p) : rate(static_cast<T>(p[0])), eps(static_cast<T>(p[1])), decay(p[2]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        slot[0] = fma(d, d, slot[0]);
        p -= rate * d / (sqrt(slot[0]) + eps);
    }
};

}  // namespace
}  // namespace lossk
