// LAMB: Adam's move and weight decay, scaled for each tensor to the tensor's own norm.
//
// m = b1 m + (1 - b1) d; v = b2 v + (1 - b2) d^2; r = rate m / (sqrt(v) + eps) + decay p; p -= lr trust r, with trust
// the norm of p over that of r. A first pass updates the averages and leaves sums of squares of both; this is the
// second, which computes r again. Parameters: lr, rate (c / (1 - b1^t), c = sqrt(1 - b2^t)), b1, b2, eps c, decay; and
// trust, the last there may be, which comes between the passes. Slots: m, v.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

template <class T>
struct lamb {
    static constexpr const char* name = "lamb";
    static constexpr int slots = 2, parameters = 6;
    T rate, b1, new1, b2, new2, eps, decay, step;

    explicit lamb(const double* p)
        : rate(static_cast<T>(p[1])),
          b1(static_cast<T>(p[2])),
          new1(static_cast<T>(1.0 - p[2])),
          b2(static_cast<T>(p[3])),
          new2(static_cast<T>(1.0 - p[3])),
          eps(static_cast<T>(p[4])),
          decay(static_cast<T>(p[5])),
          step(static_cast<T>(p[0] * p[trust_at])) {}

    template <class V>
    V move(V p, const V* slot) const {
        return fma(p, decay, rate * slot[0] / (sqrt(slot[1]) + eps));
    }
    template <class V>
    V first_pass(V p, V g, V* slot) const {
        slot[0] = fma(slot[0], b1, g * new1);
        slot[1] = fma(slot[1], b2, g * g * new2);
        return move(p, slot);
    }
    template <class V>
    void operator()(V& p, V, V* slot) const {
        p -= step * move(p, slot);
    }
};

}  // namespace
}  // namespace lossk
