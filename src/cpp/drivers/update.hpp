// In-place updates of parameters and optimizer state: one formula over flat arrays.
#pragma once

#include "../simd/narrow.hpp"
#include "norm.hpp"
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

// The loop of formulas that are not common: one for each type.
template <class T, class Formula>
[[gnu::noinline]] void update_run_once(const Formula& formula, const update_args& a, T* p, const T* g, index begin,
                                       index n) {
    update_run<T>(formula, a, p, g, begin, n);
}

// Parameters in 16 bits that are rounded at random, have an f32 copy of their own, or a formula that is not common:
// widened, updated, and rounded back, tile by tile.
template <class Formula>
inline void update_narrow(const Formula& formula, const update_args& a, index begin, index end) {
    alignas(line_bytes) float widened[update_tile], g[update_tile];
    const std::uint64_t key = rounding_key(a);
    for (index i = begin; i < end; i += update_tile) {
        const index n = smaller(update_tile, end - i);
        float* p = a.master ? a.master + i : widened;
        widen_tile(a.kind, a.g, i, n, g);
        if (!a.master) widen_tile(a.kind, a.p, i, n, p);
        if constexpr (is_common<Formula>)
            update_run<float>(formula, a, p, g, i, n);
        else
            update_run_once<float>(formula, a, p, g, i, n);
        if (a.dithers) dither_tile(a.kind, p, i, n, key);
        narrow_tile(a.kind, p, n, a.p, i);
    }
}

template <class E, class Formula>
inline void update_plainly(const Formula& formula, const update_args& a, index begin, index end) {
    E* const p = static_cast<E*>(a.p) + begin;
    const E* const g = static_cast<const E*>(a.g) + begin;
    if constexpr (is_common<Formula>)
        update_run<E>(formula, a, p, g, begin, end - begin);
    else
        update_run_once<E>(formula, a, p, g, begin, end - begin);
}

template <class Formula, class T>
void update(const update_args& a, index begin, index end) {
    const Formula formula(a.parameters);
    if constexpr (sizeof(T) == sizeof(float)) {
        if (a.kind != storage::same && (a.master || a.dithers || !is_common<Formula>))
            return update_narrow(formula, a, begin, end);
        if constexpr (is_common<Formula>) {
            if (a.kind == storage::bf16) return update_plainly<bf16>(formula, a, begin, end);
            if (a.kind == storage::f16) return update_plainly<f16>(formula, a, begin, end);
        }
    }
    update_plainly<T>(formula, a, begin, end);
}

// The first of two passes, for formulas that scale a tensor's move by norms: state is updated, and the squares of
// parameters and moves are added up, in f64 and as norm.hpp adds them.
template <class Formula, class T>
void update_norms(const update_args& a, index begin, index end, double* squares) {
    using V = vec<T>;
    constexpr int slots = Formula::slots;
    const Formula formula(a.parameters);
    const V scale = splat<V>(static_cast<T>(a.scale));
    alignas(line_bytes) T move[update_tile];
    piece_buffer<T> p_buffer, g_buffer;
    square_sum<T> of_p, of_move;
    for (index i = begin; i < end; i += update_tile) {
        const index n = smaller(update_tile, end - i);
        const T* const p = a.master ? reinterpret_cast<const T*>(a.master) + i : p_buffer.read(a.kind, a.p, i, n);
        const T* const g = g_buffer.read(a.kind, a.g, i, n);
        T* state[slots];
        for (int s = 0; s < slots; ++s) state[s] = static_cast<T*>(a.slot[s]) + i;
        each_register<V>(n, [&](index j, auto reach) {
            V slot[slots];
            for (int s = 0; s < slots; ++s) slot[s] = reach.load(state[s] + j);
            reach.store(move + j, formula.first_pass(reach.load(p + j), reach.load(g + j) * scale, slot));
            for (int s = 0; s < slots; ++s) reach.store(state[s] + j, slot[s]);
        });
        of_p.add(p, n);
        of_move.add(move, n);
    }
    squares[0] = of_p.result();
    squares[1] = of_move.result();
}

}  // namespace
}  // namespace lossk
