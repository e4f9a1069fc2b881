// Stochastic gradient descent, with and without momentum, as PyTorch and as Keras define it.
#pragma once

#include "../simd/vec.hpp"

namespace lossk {
namespace {

// Parameters of every variant: lr, momentum, dampening, weight decay, nesterov, maximize.
template <class T>
struct sgd_options {
    T lr, momentum, damped, decay, sign;
    bool decays, nesterov, first;

    sgd_options(const double* p, bool first_step)
        : lr(static_cast<T>(p[0])),
          momentum(static_cast<T>(p[1])),
          damped(static_cast<T>(1.0 - p[2])),
          decay(static_cast<T>(p[3])),
          sign(p[5] != 0 ? T(-1) : T(1)),
          decays(p[3] != 0),
          nesterov(p[4] != 0),
          first(first_step) {}

    // The gradient to descend along, with the weight decay in it. An infinite parameter is left alone by no decay.
    template <class V>
    V direction(V p, V g) const {
        return decays ? fma(p, decay, g * sign) : g * sign;
    }
};

// p -= lr (g + decay p)
template <class T>
struct sgd : sgd_options<T> {
    static constexpr const char* name = "sgd";
    static constexpr int slots = 0, parameters = 6;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V*) const {
        p -= this->lr * this->direction(p, g);
    }
};

// d = g + decay p; b = momentum b + (1 - dampening) d, but b = d at the first step;
// p -= lr (nesterov ? d + momentum b : b)
template <class T>
struct sgd_momentum : sgd_options<T> {
    static constexpr const char* name = "sgd_momentum";
    static constexpr int slots = 1, parameters = 6;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = this->direction(p, g);
        V& b = slot[0];
        b = this->first ? d : fma(b, this->momentum, d * this->damped);
        p -= this->lr * (this->nesterov ? fma(b, this->momentum, d) : b);
    }
};

// m = momentum m - lr g; p += nesterov ? momentum m - lr g : m; weight decay is decoupled: p -= lr decay p first.
template <class T>
struct sgd_keras : sgd_options<T> {
    static constexpr const char* name = "sgd_keras";
    static constexpr int slots = 1, parameters = 6;
    using sgd_options<T>::sgd_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V s = g * (this->sign * this->lr);
        V& m = slot[0];
        m = fma(m, this->momentum, -s);
        if (this->decays) p -= p * (this->lr * this->decay);
        p += this->nesterov ? fma(m, this->momentum, -s) : m;
    }
};

}  // namespace
}  // namespace lossk
