// Adam and AdamW, with and without amsgrad: running averages m of the gradient and v of its square.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

// p -= lr / (1 - b1^t) m / (sqrt(v) / c + eps), c = sqrt(1 - b2^t), is p -= rate m / (sqrt(v) + eps c) with
// rate = lr c / (1 - b1^t): what depends on the step t alone is computed once, in f64, by the caller.
// Parameters: rate, b1, b2, eps c, weight decay (Adam: in the gradient), factor of p (AdamW: 1 - lr decay).
template <class T>
struct adam_options {
    static constexpr int parameters = 6;
    static constexpr bool is_common = true;
    T rate, b1, new1, b2, new2, eps, shrink;
    coupled_decay<T> decay;

    explicit adam_options(const double* p)
        : rate(static_cast<T>(p[0])),
          b1(static_cast<T>(p[1])),
          new1(static_cast<T>(1.0 - p[1])),
          b2(static_cast<T>(p[2])),
          new2(static_cast<T>(1.0 - p[2])),
          eps(static_cast<T>(p[3])),
          shrink(static_cast<T>(p[5])),
          decay(p[4]) {}

    // m = b1 m + (1 - b1) d and v = b2 v + (1 - b2) d^2
    template <class V>
    void average(V p, V g, V& m, V& v) const {
        const V d = decay(p, g);
        m = fma(m, b1, d * new1);
        v = fma(v, b2, d * d * new2);
    }
    template <class V>
    V moved(V p, V m, V v) const {
        return p * shrink - rate * m / (sqrt(v) + eps);
    }
};

template <class T>
struct adam : adam_options<T> {
    static constexpr const char* name = "adam";
    static constexpr int slots = 2;
    using adam_options<T>::adam_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        this->average(p, g, slot[0], slot[1]);
        p = this->moved(p, slot[0], slot[1]);
    }
};

// The largest v so far takes v's place.
template <class T>
struct adam_amsgrad : adam_options<T> {
    static constexpr const char* name = "adam_amsgrad";
    static constexpr int slots = 3;
    using adam_options<T>::adam_options;

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        this->average(p, g, slot[0], slot[1]);
        slot[2] = max(slot[2], slot[1]);
        p = this->moved(p, slot[0], slot[2]);
    }
};

}  // namespace
}  // namespace lossk
