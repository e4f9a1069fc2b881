// The loops of pointwise formulas: what is compiled once for each formula, element and verb.
#pragma once

#include "../base/attributes.hpp"
#include "../losses/point.hpp"
#include "pointwise_inputs.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

constexpr int group_registers = 128 / register_bytes;  // of which a group of elements consists

// What a call has found out so far.
template <class T>
struct pointwise_findings {
    lane_sum<T, group_registers> total{};
    bool outside = false;  // may inputs be outside the formula's domain?
};

// Sums of run_registers: the i-th register of a call is added to sum (k + i) % group_registers, and only its first
// `counted` lanes count.
template <class T>
struct pointwise_place {
    int k, counted;
    vec<T> sum[group_registers]{};
};

// The loops of a formula. E is f16 or bf16 where the formula is short, and the loop converts; else f32 or f64, and
// pieces are converted before and after.
template <class E, class T = arithmetic<E>>
struct pointwise_loops {
    using group_loop = void (*)(const void* formula, const pointwise_piece<E>& at, index n, T scale, store_kind how,
                                pointwise_findings<T>& found);
    group_loop groups, streamed_groups;  // null: the formula has the other loop alone
    void (*registers)(const void* formula, const pointwise_piece<E>& at, index n, T scale, pointwise_place<T>& place,
                      bool& outside);
    int inputs;
    bool sums, streams, hess;
};

template <class Formula, class E, verb what>
struct pointwise_formula {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int K = group_registers, L = lanes<V>;
    static constexpr int inputs = inputs_of<Formula>();
    // Registers that are computed side by side: their chains of operations hide each other's latency.
    static constexpr int interleaved = compact                        ? 1
                                       : is_short<Formula>            ? (K < 4 ? K : 4)
                                       : K <= 4 && !branches<Formula> ? K
                                                                      : 1;
    // Second derivatives, which few ask for, and registers of 16 bytes, whose code would be long, stream by way of a
    // buffer.
    static constexpr bool streams = wants_grad(what) && !wants_hess(what) && register_bytes > 16;
    static constexpr bool looks = streams && !streams_apart<Formula>;  // one loop, for all ways to store

    // Calls work(k, inputs...) for the registers of a group at j.
    template <class F>
    static void each_of_group(const pointwise_piece<E>& at, index j, F&& work) {
        V z[interleaved], y[interleaved], x[interleaved];
        load_group(at.z + j, z);
        load_group(at.y + j, y);
        if constexpr (inputs == 3) load_group(at.x + j, x);
        unrolled<interleaved>([&](auto k) {
            if constexpr (inputs == 3)
                work(k, z[k], y[k], x[k]);
            else
                work(k, z[k], y[k]);
        });
    }

    // Whole groups of K registers, without weights, streamed or not. What stands side by side is read before any of it
    // is written, as the compiler must not move reads before writes. A function of its own, as the other loop, with
    // copies of its own: what it needs stays in registers, whatever is stored.
    template <bool streamed>
    [[LOSSK_SIDE_BY_SIDE]] static void run_groups(const void* of, const pointwise_piece<E>& piece_at, index n, T scale,
                                                  store_kind how, pointwise_findings<T>& found) {
        const Formula formula = *static_cast<const Formula*>(of);
        const pointwise_piece<E> at = piece_at;
        [[maybe_unused]] bits<V> marks{};
        for (index begin = 0; begin < n; begin += piece) {
            V sum[K]{};
            const index end = smaller(begin + piece, n);
            for (index i = begin; i < end; i += K * L)
                for (int done = 0; done < K; done += interleaved) {
                    const index j = i + done * L;
                    V g[interleaved], h[interleaved];
                    each_of_group(at, j, [&](auto k, auto... x) {
                        if constexpr (has_domain<Formula>) marks |= mark_of(formula, x...);
                        const point<V> p = formula(x...);
                        if constexpr (wants_value(what)) sum[done + k] += p.value;
                        g[k] = p.grad * scale;
                        h[k] = p.hess * scale;
                    });
                    if constexpr (looks)
                        store_group(how, at.g + j, g);
                    else if constexpr (streamed)
                        store_group_streaming(how, at.g + j, g);
                    else if constexpr (wants_grad(what))
                        store_group<store_kind::cached>(at.g + j, g);
                    if constexpr (wants_hess(what)) store_group<store_kind::cached>(at.h + j, h);
                }
            found.total.add_all(sum);
        }
        if constexpr (has_domain<Formula>)
            if (may_be_outside<Formula, V>(marks)) found.outside = true;
    }

    // Whole registers, with or without weights and single losses. What weighs 0 does not count, whatever it holds.
    [[LOSSK_ONE_LOOP]] static void run_registers(const void* of, const pointwise_piece<E>& piece_at, index n, T scale,
                                                 pointwise_place<T>& place, bool& found_outside) {
        const Formula formula = *static_cast<const Formula*>(of);
        const pointwise_piece<E> at = piece_at;
        const bits<V> counted = first_lanes<V>(place.counted);
        [[maybe_unused]] bits<V> marks{};
        for (index j = 0; j < n; j += L) {
            const whole_register<V> reach{};
            const V w = at.w ? load<V>(at.w + j) : splat<V>(1);
            const bits<V> counts = w != T(0);
            point<V> p = on_inputs<inputs, V>(at, j, reach, T(0), [&](auto... x) {
                if constexpr (has_domain<Formula>) marks |= mark_of(formula, x...) & counts;
                return formula(x...);
            });
            p = {keep(counts, p.value * w), p.grad * w, p.hess * w};
            if (wants_value(what) && at.each) store(at.each + j, p.value);
            if constexpr (wants_value(what)) {
                place.sum[place.k] += keep(counted, p.value);
                place.k = (place.k + 1) % K;
            }
            if constexpr (wants_grad(what)) store(at.g + j, keep(counts, p.grad * scale));
            if constexpr (wants_hess(what)) store(at.h + j, keep(counts, p.hess * scale));
        }
        if constexpr (has_domain<Formula>)
            if (may_be_outside<Formula, V>(marks & counted)) found_outside = true;
    }

    static constexpr pointwise_loops<E> loops() {
        if constexpr (is_long<Formula>)
            return {nullptr, nullptr, run_registers, inputs, wants_value(what), false, wants_hess(what)};
        else
            return with_groups();
    }
    static constexpr pointwise_loops<E> with_groups() {
        return {run_groups<looks>, run_groups<streams>, run_registers, inputs, wants_value(what),
                streams,           wants_hess(what)};
    }
};

}  // namespace
}  // namespace lossk
