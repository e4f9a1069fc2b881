// Adam along a mixture of gradient and average: NAdam, and RAdam, which has no gradient in it.
//
// m = b1 m + (1 - b1) d; v = b2 v + (1 - b2) d^2; p = shrink p - (now d + rate m) / (share sqrt(v) + eps).
// Parameters: now, rate, b1, b2, share, eps, weight decay in the gradient, shrink; what depends on the step is computed
// in f64 by the caller. Slots: m, v.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

template <class T>
struct nadam {
    static constexpr const char* name = "nadam";
    static constexpr int slots = 2, parameters = 8;
    T now, rate, b1, new1, b2, new2, share, eps, shrink;
    coupled_decay<T> decay;

    explicit nadam(const double* p)
        : now(static_cast<T>(p[0])),
          rate(static_cast<T>(p[1])),
          b1(static_cast<T>(p[2])),
          new1(static_cast<T>(1.0 - p[2])),
          b2(static_cast<T>(p[3])),
          new2(static_cast<T>(1.0 - p[3])),
          share(static_cast<T>(p[4])),
          eps(static_cast<T>(p[5])),
          shrink(static_cast<T>(p[7])),
          decay(p[6]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        slot[0] = fma(slot[0], b1, d * new1);
        slot[1] = fma(slot[1], b2, d * d * new2);
        // Without a share of it, a root that is infinite does not count.
        const V root = share == T(0) ? V{} : sqrt(slot[1]) * share;
        p = p * shrink - fma(d, now, rate * slot[0]) / (root + eps);
    }
};

}  // namespace
}  // namespace lossk
