// In-place updates of parameters and optimizer state: one formula over flat arrays.
#pragma once

#include "memory.hpp"

namespace lossk {
namespace {

template <class Formula, class T>
void update(const update_args& a, index begin, index end) {
    using V = vec<T>;
    constexpr int L = lanes<V>;
    constexpr int slots = Formula::slots;
    const Formula formula(a.parameters, a.first);
    T* p = static_cast<T*>(a.p);
    const T* g = static_cast<const T*>(a.g);

    const auto step = [&](index i, auto get, auto put) {
        V slot[slots > 0 ? slots : 1];
        for (int s = 0; s < slots; ++s) slot[s] = get(static_cast<const T*>(a.slot[s]) + i);
        V parameter = get(p + i);
        formula(parameter, get(g + i), slot);
        put(p + i, parameter);
        for (int s = 0; s < slots; ++s) put(static_cast<T*>(a.slot[s]) + i, slot[s]);
    };
    index i = begin;
    for (; i + L <= end; i += L)
        step(i, [](const T* from) { return load<V>(from); }, [](T* to, V v) { store(to, v); });
    if (i < end) {
        const int n = static_cast<int>(end - i);
        step(i, [n](const T* from) { return load_first<V>(from, n, T(0)); }, [n](T* to, V v) { store_first(to, v, n); });
    }
}

}  // namespace
}  // namespace lossk
