// Rprop: steps that grow while the gradient keeps its sign, shrink where it changes, and know nothing of its size.
//
// s = sign(g before); step *= s > 0 ? grow : s < 0 ? fade : 1, within bounds; g = s < 0 ? 0 : g; p -= sign(g) step.
// Parameters: fade, grow, smallest and largest step. Slots: the gradient before, the step.
#pragma once

#include "decay.hpp"

namespace lossk {
namespace {

template <class T>
struct rprop {
    static constexpr const char* name = "rprop";
    static constexpr int slots = 2, parameters = 4;
    T fade, grow, smallest, largest;

    explicit rprop(const double* p)
        : fade(static_cast<T>(p[0])),
          grow(static_cast<T>(p[1])),
          smallest(static_cast<T>(p[2])),
          largest(static_cast<T>(p[3])) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        const V same = g * slot[0];
        const V factor = choose<V>(same > T(0), splat<V>(grow), choose<V>(same < T(0), splat<V>(fade), splat<V>(T(1))));
        slot[1] = min(largest, max(smallest, slot[1] * factor));
        slot[0] = choose<V>(same < T(0), V{}, g);
        p -= sign(slot[0]) * slot[1];
    }
};

}  // namespace
}  // namespace lossk
