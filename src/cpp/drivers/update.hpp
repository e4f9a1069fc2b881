// In-place updates of parameters and optimizer state: one formula over flat arrays.
#pragma once

#include "../simd/narrow.hpp"
#include "memory.hpp"
#include "rounding.hpp"

namespace lossk {
namespace {

// One step of n elements at p, their gradients at g, their state from element `begin` of the slots on. E is what memory
// holds of parameters and gradients: a register of 16 bits is converted on its way in and out.
template <class E, class Formula>
inline void update_run(const Formula& formula, const update_args& a, E* p, const E* g, index begin, index n) {
    using T = arithmetic<E>;
    using V = vec<T>;
    constexpr int slots = Formula::slots;
    const V scale = splat<V>(static_cast<T>(a.scale));
    T* state[slots + 1];
    for (int s = 0; s < slots; ++s) state[s] = static_cast<T*>(a.slot[s]) + begin;

    each_register<V>(n, [&](index i, auto reach) {
        V slot[slots + 1];
        for (int s = 0; s < slots; ++s) slot[s] = reach.load(state[s] + i);
        V parameter = reach.load(p + i);
        formula(parameter, reach.load(g + i) * scale, slot);
        reach.store(p + i, parameter);
        for (int s = 0; s < slots; ++s) reach.store(state[s] + i, slot[s]);
    });
}

// Parameters in 16 bits that are rounded at random, or have an f32 copy of their own: widened, updated, and rounded
// back, tile by tile.
template <class Formula>
inline void update_narrow(const Formula& formula, const update_args& a, index begin, index end) {
    alignas(line_bytes) float widened[update_tile], g[update_tile];
    const std::uint64_t key = rounding_key(a);
    for (index i = begin; i < end; i += update_tile) {
        const index n = smaller(update_tile, end - i);
        float* p = a.master ? a.master + i : widened;
        widen_tile(a.kind, a.g, i, n, g);
        if (!a.master) widen_tile(a.kind, a.p, i, n, p);
        update_run<float>(formula, a, p, g, i, n);
        if (a.dithers) dither_tile(a.kind, p, i, n, key);
        narrow_tile(a.kind, p, n, a.p, i);
    }
}

template <class E, class Formula>
inline void update_plainly(const Formula& formula, const update_args& a, index begin, index end) {
    update_run<E>(formula, a, static_cast<E*>(a.p) + begin, static_cast<const E*>(a.g) + begin, begin, end - begin);
}

template <class Formula, class T>
void update(const update_args& a, index begin, index end) {
    const Formula formula(a.parameters);
    if constexpr (sizeof(T) == sizeof(float)) {
        if (a.kind != storage::same && (a.master || a.dithers)) return update_narrow(formula, a, begin, end);
        if (a.kind == storage::bf16) return update_plainly<bf16>(formula, a, begin, end);
        if (a.kind == storage::f16) return update_plainly<f16>(formula, a, begin, end);
    }
    update_plainly<T>(formula, a, begin, end);
}

}  // namespace
}  // namespace lossk
