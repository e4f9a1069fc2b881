// Adamax: Adam with the largest gradient so far, which fades, in place of the root mean square.
//
// m = b1 m + (1 - b1) d; u = max(b2 u, |d| + eps); p -= rate m / u.
// Parameters: rate (lr / (1 - b1^t)), b1, b2, eps, weight decay. Slots: m, u.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

template <class T>
struct adamax {
    static constexpr const char* name = "adamax";
    static constexpr int slots = 2, parameters = 5;
    T rate, b1, new1, b2, eps;
    coupled_decay<T> decay;

    explicit adamax(const double* p)
        : rate(static_cast<T>(p[0])),
          b1(static_cast<T>(p[1])),
          new1(static_cast<T>(1.0 - p[1])),
          b2(static_cast<T>(p[2])),
          eps(static_cast<T>(p[3])),
          decay(p[4]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        slot[0] = fma(slot[0], b1, d * new1);
        slot[1] = max(slot[1] * b2, abs(d) + eps);
        p -= rate * slot[0] / slot[1];
    }
};

}  // namespace
}  // namespace lossk
