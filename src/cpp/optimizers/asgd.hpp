// Averaged SGD: steps that become smaller, and the average of what parameters were.
//
// p = shrink p - rate d; a += (p - a) share, with share 1: a = p.
// Parameters: rate, shrink (1 - lambd rate), share, weight decay. Slot: a.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

template <class T>
struct asgd {
    static constexpr const char* name = "asgd";
    static constexpr int slots = 1, parameters = 4;
    T rate, shrink, share;
    coupled_decay<T> decay;

    explicit asgd(const double* p)
        : rate(static_cast<T>(p[0])), shrink(static_cast<T>(p[1])), share(static_cast<T>(p[2])), decay(p[3]) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V d = decay(p, g);
        p = p * shrink - rate * d;
        slot[0] = share == T(1) ? p : fma(p - slot[0], share, slot[0]);
    }
};

}  // namespace
}  // namespace lossk
