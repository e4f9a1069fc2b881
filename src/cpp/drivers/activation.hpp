// A function of x, its derivative, or a cotangent times that, over arrays of any length.
#pragma once

#include "../base/attributes.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

template <class Formula, class E, map what>
class activation_driver {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = 4;  // registers that are computed side by side

    static V of(const Formula& formula, V x, V c) {
        if constexpr (what == map::value) return formula.value(x);
        const V slope = formula.derivative(x);
        return what == map::derivative ? slope : slope * c;
    }

    // A function of its own, with copies of its own: the formula stays in registers, whatever is stored. K registers
    // are read before any is written, as the compiler must not move reads before writes.
    [[LOSSK_SIDE_BY_SIDE]] static void run_groups(const Formula formula, const E* x, const E* c, index n,
                                                  store_kind how, E* out) {
        for (index j = 0; j < n; j += K * L) {
            V at[K], by[K];
            load_group(x + j, at);
            if constexpr (what == map::vjp) load_group(c + j, by);
            unrolled<K>([&](auto k) { at[k] = of(formula, at[k], by[k]); });
            store_group(how, out + j, at);
        }
    }
    // Fewer elements than a group, from a copy that fills one.
    static void run_rest(const Formula& formula, const E* x, const E* c, index n, E* out) {
        E x_of[K * L]{}, c_of[K * L]{}, results[K * L];
        const auto bytes = static_cast<std::size_t>(n) * sizeof(E);
        __builtin_memcpy(x_of, x, bytes);
        if constexpr (what == map::vjp) __builtin_memcpy(c_of, c, bytes);
        run_groups(formula, x_of, c_of, K * L, store_kind::cached, results);
        __builtin_memcpy(out, results, bytes);
    }

public:
    static void run(const activation_args& a, index begin, index end) {
        const Formula formula{a.parameters};
        const E *x = static_cast<const E*>(a.x) + begin, *c = what == map::vjp ? static_cast<const E*>(a.c) + begin : x;
        E* const out = static_cast<E*>(a.out) + begin;
        const index n = end - begin;
        // Whole lines are streamed; elements before the first one are stored as usual.
        const index head = a.streaming ? smaller(n, to_line(out)) : 0;
        const store_kind how = a.streaming ? store_kind::streaming : store_kind::cached;
        for (index i = 0, m; i < n; i += m) {
            const index left = i < head ? head - i : n - i;
            m = left / (K * L) * (K * L);
            if (m > 0) {
                run_groups(formula, x + i, c + i, m, i < head ? store_kind::cached : how, out + i);
            } else {
                m = left;
                run_rest(formula, x + i, c + i, m, out + i);
            }
        }
        if (a.streaming) stream_fence();
    }
};

template <class Formula, class T, map what>
void activate(const activation_args& a, index begin, index end) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (a.kind == storage::bf16) return activation_driver<Formula, bf16, what>::run(a, begin, end);
        if (a.kind == storage::f16) return activation_driver<Formula, f16, what>::run(a, begin, end);
    }
    activation_driver<Formula, T, what>::run(a, begin, end);
}

}  // namespace
}  // namespace lossk
