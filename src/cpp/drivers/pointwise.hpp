// One pass over pointwise arrays: value, gradient and second derivative of a formula for inputs of any length.
#pragma once

#include "../base/attributes.hpp"
#include "../losses/point.hpp"
#include "pointwise_inputs.hpp"
#include "pointwise_results.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// What a call has found out so far.
template <class T, int K>
struct pointwise_findings {
    lane_sum<T, K> total{};
    bool outside = false;  // were there inputs outside the formula's domain?
};

// E is what the loop reads and writes: f16 and bf16 themselves where the formula is short, else tiles of f32.
template <class Formula, class E, verb what>
class pointwise_driver {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes, L = lanes<V>;
    static constexpr int inputs = inputs_of<Formula>();
    // Registers that are computed side by side: their chains of operations hide each other's latency.
    static constexpr int beside = is_short<Formula> ? (K < 4 ? K : 4) : K <= 4 && !branches<Formula> ? K : 1;

    const pointwise_args& a;
    const Formula formula{a.parameters};
    // Groups, which have neither weights nor single values, stream their gradients themselves. each_result_streamed
    // does it for the rest: addresses that are no multiple of 16, second derivatives, which few ask for, and registers
    // of 16 bytes, whose code would be long.
    const bool grouped = !a.w && !a.each;
    static constexpr bool may_stream = wants_grad(what) && !wants_hess(what) && register_bytes > 16;
    const bool streams = may_stream && a.streaming && grouped && !piece_buffer<E>::holds(a.kind);
    way_out of_groups = way_out::usual;
    pointwise_findings<T, K> found;
    pointwise_inputs<E, inputs> in;

    // The loops are functions of their own, with copies of their own: what they need stays in registers, whatever is
    // stored. This one takes whole groups of K registers. What stands side by side is read before any of it is written,
    // as the compiler must not move reads before writes.
    template <way_out how>
    [[LOSSK_SIDE_BY_SIDE]] static void run_groups(const Formula formula, const pointwise_piece<E> at, index n, T scale,
                                                  pointwise_findings<T, K>& found) {
        bits<V> outside{};
        for (index begin = 0; begin < n; begin += piece) {
            V sum[K]{};
            const index end = smaller(begin + piece, n);
            for (index i = begin; i < end; i += K * L)
                for (int done = 0; done < K; done += beside) {
                    const index j = i + done * L;
                    V g[beside], h[beside];
                    each_of_group(at, j, [&](auto k, auto... x) {
                        if constexpr (has_domain<Formula>) outside |= formula.outside(x...);
                        const point<V> p = formula(x...);
                        if constexpr (wants_value(what)) sum[done + k] += p.value;
                        g[k] = p.grad * scale;
                        h[k] = p.hess * scale;
                    });
                    if constexpr (wants_grad(what)) store_group<how>(at.g + j, g);
                    if constexpr (wants_hess(what)) store_group<how>(at.h + j, h);
                }
            found.total.add_all(sum);
        }
        if (any<V>(outside)) found.outside = true;
    }

    static auto groups_by(way_out how) {
        if constexpr (may_stream) {
            if (how == way_out::streaming) return run_groups<way_out::streaming>;
            if (how == way_out::streaming_by_16) return run_groups<way_out::streaming_by_16>;
        }
        return run_groups<way_out::usual>;
    }

    // Calls work(k, inputs...) for the registers of a group at j.
    template <class F>
    static void each_of_group(const pointwise_piece<E>& at, index j, F&& work) {
        V z[beside], y[beside], x[beside];
        load_group(at.z + j, z);
        load_group(at.y + j, y);
        if constexpr (inputs == 3) load_group(at.x + j, x);
        unrolled<beside>([&](auto k) {
            if constexpr (inputs == 3)
                work(k, z[k], y[k], x[k]);
            else
                work(k, z[k], y[k]);
        });
    }

    // The elements [first, first + n) of a piece, whatever is asked for.
    [[gnu::noinline]] static void run_each(const Formula formula, const pointwise_piece<E> at, index first, index n,
                                           T scale, pointwise_findings<T, K>& found) {
        V sum[K]{};
        bits<V> outside{};
        each_in_turn<V, K>(n, [&](index i, int k, auto reach) {
            const index j = first + i;
            point<V> p = on_inputs<inputs, V>(at, j, reach, T(1), [&](auto... x) {
                if constexpr (has_domain<Formula>) outside |= as_bits(reach.mask(from_bits<V>(formula.outside(x...))));
                return formula(x...);
            });
            const V w = at.w ? reach.load(at.w + j, T(0)) : splat<V>(1);
            p = {p.value * w, p.grad * w, p.hess * w};
            if (wants_value(what) && at.each) reach.store(at.each + j, p.value);
            if constexpr (wants_value(what)) sum[k] += reach.mask(p.value);
            if constexpr (wants_grad(what)) reach.store(at.g + j, p.grad * scale);
            if constexpr (wants_hess(what)) reach.store(at.h + j, p.hess * scale);
        });
        found.total.add_all(sum);
        if (any<V>(outside)) found.outside = true;
    }

    // Elements [i, i + n), derivatives to g and h.
    void run_piece(index i, index n, E* g, E* h) {
        pointwise_piece<E> at = in.read(a, i, n);
        if (a.w) at.w = static_cast<const T*>(a.w) + i;
        if (a.each) at.each = static_cast<T*>(a.each) + i;
        at.g = g;
        at.h = h;
        const T scale = static_cast<T>(a.scale);
        const index in_groups = grouped ? n - n % (K * L) : 0;
        if (in_groups > 0) groups_by(of_groups)(formula, at, in_groups, scale, found);
        each_piece(in_groups, n, [&](index first, index rest) { run_each(formula, at, first, rest, scale, found); });
    }

public:
    explicit pointwise_driver(const pointwise_args& args) : a(args) {}

    double run(index begin, index end) {
        if (streams) of_groups = streaming_to(static_cast<E*>(a.g) + begin);
        each_result<E, wants_grad(what), wants_hess(what)>(
            a, begin, end, of_groups != way_out::usual,
            [](void* self, index i, index n, E* g, E* h) {
                static_cast<pointwise_driver*>(self)->run_piece(i, n, g, h);
            },
            this);
        if (found.outside && a.outside) __atomic_store_n(a.outside, true, __ATOMIC_RELAXED);
        return wants_value(what) ? found.total.result() : 0.0;
    }
};

template <class Formula, class T, verb what>
double pointwise(const pointwise_args& a, index begin, index end) {
    if constexpr (requires { typename Formula::usual; })
        if (Formula::is_usual(a.parameters)) return pointwise<typename Formula::usual, T, what>(a, begin, end);
    if constexpr (is_short<Formula> && inputs_of<Formula>() == 2 && sizeof(T) == sizeof(float)) {
        if (a.kind == storage::bf16) return pointwise_driver<Formula, bf16, what>(a).run(begin, end);
        if (a.kind == storage::f16) return pointwise_driver<Formula, f16, what>(a).run(begin, end);
    }
    return pointwise_driver<Formula, T, what>(a).run(begin, end);
}

}  // namespace
}  // namespace lossk
