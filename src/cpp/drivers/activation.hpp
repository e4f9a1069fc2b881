// A function of x, its derivative, or a cotangent times that, over arrays of any length.
//
// Loops are compiled for each formula, the way to them once for all. A formula that `is_common` has a loop for each
// type of memory and each map. Others have a third of the code: 16 bits go by way of tiles of f32, and the derivative
// is the cotangent's loop with ones.
#pragma once

#include "../base/attributes.hpp"
#include "groups.hpp"

namespace lossk {
namespace {

constexpr int activation_group = 4;  // registers that loops take at once

// A formula's loops over whole groups: where results stay in the caches, and where `how` says. Cotangents are read
// `step` elements further for each group: 0 for the same again.
template <class E>
struct activation_loops {
    using loop = void (*)(const void* formula, const E* x, const E* c, index step, index n, store_kind how, E* out);
    loop cached, streamed;
};

// A function of its own, with copies of its own: the formula stays in registers, whatever is stored. Registers are read
// before any is written, as the compiler must not move reads before writes.
template <class Formula, class E, map what, bool streams>
[[LOSSK_SIDE_BY_SIDE]] void activation_groups(const void* of, const E* x, const E* c, index step, index n,
                                              store_kind how, E* out) {
    using V = vec<arithmetic<E>>;
    constexpr int K = compact && !is_common<Formula> ? 1 : activation_group, L = lanes<V>;
    const Formula formula = *static_cast<const Formula*>(of);
    for (index i = 0; i < n; i += activation_group * L) {
        for (index j = 0; j < activation_group * L; j += K * L) {
            V at[K], by[K];
            load_group(x + i + j, at);
            if constexpr (what == map::vjp) load_group(c + (is_common<Formula> ? i + j : j), by);
            unrolled<K>([&](auto k) {
                if constexpr (what == map::value) {
                    at[k] = formula.value(at[k]);
                } else {
                    at[k] = formula.derivative(at[k]);
                    if constexpr (what == map::vjp) at[k] *= by[k];
                }
            });
            if constexpr (streams)
                store_group(how, out + i + j, at);
            else
                store_group<store_kind::cached>(out + i + j, at);
        }
        if constexpr (!is_common<Formula>) c += step;
    }
}

// A formula that `is_short` has a loop without a look at how results are stored.
template <class Formula, class E, map what>
constexpr activation_loops<E> activation_loops_of() {
    constexpr bool looks = !requires { Formula::is_short; };
    return {activation_groups<Formula, E, what, looks>, activation_groups<Formula, E, what, true>};
}

template <class E>
class activation_driver {
    using T = arithmetic<E>;
    static constexpr index group = activation_group * lanes<vec<T>>;

    const activation_args& a;
    const activation_loops<E>& loops;
    const void* const formula;
    alignas(line_bytes) E ones[group];  // cotangents of a derivative

    // Fewer elements than a group, from a copy that fills one.
    void run_rest(const E* x, const E* c, index n, E* out) const {
        E x_of[group]{}, c_of[group], results[group];
        const auto bytes = static_cast<std::size_t>(n) * sizeof(E);
        __builtin_memcpy(x_of, x, bytes);
        if (a.c) {
            __builtin_memset(c_of, 0, sizeof c_of);
            __builtin_memcpy(c_of, c, bytes);
            c = c_of;
        }
        loops.cached(formula, x_of, c, group, group, store_kind::cached, results);
        __builtin_memcpy(out, results, bytes);
    }

    // Whole lines are streamed; elements before the first one are stored as usual.
    void run_array(const E* x, const E* c, index n, E* out) const {
        const index step = c ? group : 0, head = a.streaming ? smaller(n, to_line(out)) : 0;
        const auto main = a.streaming ? loops.streamed : loops.cached;
        const store_kind how = a.streaming ? store_kind::streaming : store_kind::cached;
        for (index i = 0, m; i < n; i += m) {
            const index left = i < head ? head - i : n - i;
            const E* const by = c ? c + i : ones;
            m = left / group * group;
            if (m > 0)
                (i < head ? loops.cached : main)(formula, x + i, by, step, m, i < head ? store_kind::cached : how,
                                                 out + i);
            else
                run_rest(x + i, by, m = left, out + i);
        }
        if (a.streaming) stream_fence();
    }

    // Arrays of 16 bits whose loop is of f32.
    void run_tiles(index begin, index end) const {
        alignas(line_bytes) float x[piece]{}, c[piece]{}, out[piece];
        each_piece(begin, end, [&](index i, index n) {
            widen_tile(a.kind, a.x, i, n, x);
            if (a.c) widen_tile(a.kind, a.c, i, n, c);
            const index whole = (n + group - 1) / group * group;
            loops.cached(formula, x, a.c ? c : ones, a.c ? group : 0, whole, store_kind::cached, out);
            narrow_tile(a.kind, out, n, a.out, i);
        });
    }

public:
    activation_driver(const activation_args& args, const activation_loops<E>& of, const void* with, bool has_slope)
        : a(args), loops(of), formula(with) {
        if constexpr (sizeof(E) == sizeof(T))
            if (has_slope && !a.c)
                for (E& one : ones) one = 1;
    }

    void run(index begin, index end) const {
        if constexpr (sizeof(E) == sizeof(float))
            if (a.kind != storage::same) return run_tiles(begin, end);
        const E* const c = static_cast<const E*>(a.c);
        run_array(static_cast<const E*>(a.x) + begin, c ? c + begin : c, end - begin, static_cast<E*>(a.out) + begin);
    }
};

template <class E>
[[gnu::noinline]] void run_activation(const activation_args& a, const activation_loops<E>& loops, const void* formula,
                                      bool has_slope, index begin, index end) {
    activation_driver<E>(a, loops, formula, has_slope).run(begin, end);
}

template <class Formula, class E, map what>
void activate_as(const activation_args& a, index begin, index end) {
    static constexpr activation_loops<E> loops = activation_loops_of<Formula, E, what>();
    const Formula formula{a.parameters};
    run_activation<E>(a, loops, &formula, what != map::value, begin, end);
}

template <class Formula, class T, map what>
void activate(const activation_args& a, index begin, index end) {
    if constexpr (is_common<Formula> && sizeof(T) == sizeof(float)) {
        if (a.kind == storage::bf16) return activate_as<Formula, bf16, what>(a, begin, end);
        if (a.kind == storage::f16) return activate_as<Formula, f16, what>(a, begin, end);
    }
    activate_as<Formula, T, what>(a, begin, end);
}

}  // namespace
}  // namespace lossk
