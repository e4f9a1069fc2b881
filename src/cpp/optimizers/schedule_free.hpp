// Schedule-free learning: gradients are taken at y, between the sequence z of plain steps and its average x.
//
// The parameter is y: y += share (z - y) - back d; z -= lr d, with share the newest z's part of the average and
// back = lr (1 - beta (1 - share)). SGD: d = g + decay y; AdamW: v = b2 v + (1 - b2) g^2, d = g / (sqrt(v) + eps) +
// decay y.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

// Parameters: lr, share, back, weight decay. Slot: z.
template <class T>
struct schedule_free_sgd {
    static constexpr const char* name = "schedule_free_sgd";
    static constexpr int slots = 1, parameters = 4;
    T lr, share, back;
    coupled_decay<T> decay;

    explicit schedule_free_sgd(const double* p)
        : lr(static_cast<T>(p[0])), share(static_cast<T>(p[1])), back(static_cast<T>(p[2])), decay(p[3]) {}

    template <class V>
    void move(V& y, V d, V& z) const {
        y = fma(z - y, share, y) - back * d;
        z -= lr * d;
    }
    template <class V>
    void operator()(V& y, V g, V* slot) const {
        move(y, decay(y, g), slot[0]);
    }
};

// The same, then b2, factor of the gradient (c = sqrt(1 - b2^t)), eps c. Slots: z, v.
template <class T>
struct schedule_free_adamw : schedule_free_sgd<T> {
    static constexpr const char* name = "schedule_free_adamw";
    static constexpr int slots = 2, parameters = 7;
    T b2, new2, factor, eps;

    explicit schedule_free_adamw(const double* p)
        : schedule_free_sgd<T>(p),
          b2(static_cast<T>(p[4])),
          new2(static_cast<T>(1.0 - p[4])),
          factor(static_cast<T>(p[5])),
          eps(static_cast<T>(p[6])) {}

    template <class V>
    void operator()(V& y, V g, V* slot) const {
        slot[1] = fma(slot[1], b2, g * g * new2);
        this->move(y, this->decay(y, g * factor / (sqrt(slot[1]) + eps)), slot[0]);
    }
};

}  // namespace
}  // namespace lossk
