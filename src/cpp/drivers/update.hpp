// In-place updates of parameters and optimizer state: one formula over flat arrays.
#pragma once

#include "memory.hpp"

namespace lossk {
namespace {

// One step of n elements at p, their gradients at g, their state from element `begin` of the slots on.
template <class T, class Formula>
inline void update_run(const Formula& formula, const update_args& a, T* p, const T* g, index begin, index n) {
    using V = vec<T>;
    constexpr int slots = Formula::slots;
    const V scale = splat<V>(static_cast<T>(a.scale));

    each_register<V>(n, [&](index i, auto reach) {
        V slot[slots > 0 ? slots : 1];
        for (int s = 0; s < slots; ++s) slot[s] = reach.load(static_cast<const T*>(a.slot[s]) + begin + i);
        V parameter = reach.load(p + i);
        formula(parameter, reach.load(g + i) * scale, slot);
        reach.store(p + i, parameter);
        for (int s = 0; s < slots; ++s) reach.store(static_cast<T*>(a.slot[s]) + begin + i, slot[s]);
    });
}

template <class Formula, class T>
void update(const update_args& a, index begin, index end) {
    const Formula formula(a.parameters);
    update_run<T>(formula, a, static_cast<T*>(a.p) + begin, static_cast<const T*>(a.g) + begin, begin, end - begin);
}

}  // namespace
}  // namespace lossk
