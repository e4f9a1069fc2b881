// In-place updates of parameters and optimizer state: one formula over flat arrays.
#pragma once

#include "memory.hpp"

namespace lossk {
namespace {

template <class Formula, class T>
void update(const update_args& a, index begin, index end) {
    using V = vec<T>;
    constexpr int slots = Formula::slots;
    const Formula formula(a.parameters, a.first);
    T* p = static_cast<T*>(a.p);
    const T* g = static_cast<const T*>(a.g);

    each_register<V>(end - begin, [&](index i, auto reach) {
        i += begin;
        V slot[slots > 0 ? slots : 1];
        for (int s = 0; s < slots; ++s) slot[s] = reach.load(static_cast<const T*>(a.slot[s]) + i);
        V parameter = reach.load(p + i);
        formula(parameter, reach.load(g + i), slot);
        reach.store(p + i, parameter);
        for (int s = 0; s < slots; ++s) reach.store(static_cast<T*>(a.slot[s]) + i, slot[s]);
    });
}

}  // namespace
}  // namespace lossk
