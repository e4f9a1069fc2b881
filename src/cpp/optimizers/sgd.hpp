// Stochastic gradient descent, with and without momentum, as PyTorch and as Keras define it.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

// Parameters of every variant: lr, momentum, dampening, weight decay, nesterov, is this the first step.
template <class T>
struct sgd_options {
    static constexpr int parameters = 6;
    static constexpr bool is_common = true;
    T lr, momentum, damped, keras_decay;
    coupled_decay<T> decay;
    bool nesterov, first;

    explicit sgd_options(const double* p)
        : lr(static_cast<T>(p[0])),
          momentum(static_cast<T>(p[1])),
          damped(static_cast<T>(1.0 - p[2])),
          keras_decay(static_cast<T>(p[0] * p[3])),
          decay(p[3]),
          nesterov(p[4] != 0),
          first(p[5] != 0) {}
};

// p -= lr (g + decay p)
template <class T>
struct sgd : sgd_options<T> {
    static constexpr const char* name = "sgd";
    static constexpr int slots = 0;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V*) const {
        p -= this->lr * this->decay(p, g);
    }
};

// d = g + decay p; b = momentum b + (1 - dampening) d, but b = d at the first step;
// p -= lr (nesterov ? d + momentum b : b)
template <class T>
struct sgd_momentum : sgd_options<T> {
    static constexpr const char* name = "sgd_momentum";
    static constexpr int slots = 1;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = this->decay(p, g);
        V& b = slot[0];
        b = this->first ? d : fma(b, this->momentum, d * this->damped);
        p -= this->lr * (this->nesterov ? fma(b, this->momentum, d) : b);
    }
};

// m = momentum m - lr g; p += nesterov ? momentum m - lr g : m; weight decay is decoupled: p -= lr decay p first.
template <class T>
struct sgd_keras : sgd_options<T> {
    static constexpr const char* name = "sgd_keras";
    static constexpr int slots = 1;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V s = g * this->lr;
        V& m = slot[0];
        m = fma(m, this->momentum, -s);
        if (this->decay.on) p -= p * this->keras_decay;
        p += this->nesterov ? fma(m, this->momentum, -s) : m;
    }
};

}  // namespace
}  // namespace lossk
