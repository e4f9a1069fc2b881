// What losses of a logit x share: both probabilities and both logarithms from one exponential.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

// p = 1/(1 + exp(-x)) and q = 1 - p, each with all its digits, and spread = log(1 + exp(-|x|)):
// -log p = spread + max(0, -x), -log q = spread + max(0, x).
template <class V>
struct logit {
    using T = lane_t<V>;
    V x, p, q, spread;

    explicit logit(V at) : x(at) {
        const V e = exp_flush(-abs(x)), smaller = e / (T(1) + e), larger = T(1) - smaller;
        p = x < T(0) ? smaller : larger;
        q = x < T(0) ? larger : smaller;
        spread = log1p_unit(e);
    }

    // yes (-log p) + no (-log q): 0 where an infinite logarithm has the weight 0.
    V cross_entropy(V yes, V no) const {
        const V weight = x < T(0) ? yes : no;
        return (yes + no) * spread + keep<V>(weight != T(0), weight * abs(x));
    }
    V slope(V yes, V no) const { return no * p - yes * q; }
};

}  // namespace
}  // namespace lossk
