// One pass over pointwise arrays: value, gradient and second derivative of a formula for inputs of any length.
//
// Two or three loops are compiled for each formula and verb. What leads to them is compiled once for all formulas.
#pragma once

#include "../base/attributes.hpp"
#include "../losses/point.hpp"
#include "pointwise_inputs.hpp"
#include "pointwise_results.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

template <class T>
constexpr int pointwise_sums = 128 / register_bytes;  // registers that a group of elements fills

// What a call has found out so far.
template <class T>
struct pointwise_findings {
    lane_sum<T, pointwise_sums<T>> total{};
    bool outside = false;  // were there inputs outside the formula's domain?
};

// The registers of a piece that fill no group, or have weights or single losses: the first of them is added to the
// k-th sum, and of each the first `counted` lanes count.
template <class T>
struct pointwise_place {
    int k, counted;
    vec<T> sum[pointwise_sums<T>]{};
};

// The loops of a formula on elements E: what f16 and bf16 are converted by, where the formula is short, else f32.
template <class E, class T = arithmetic<E>>
struct pointwise_loops {
    using group_loop = void (*)(const void* formula, const pointwise_piece<E>& at, index n, T scale, way_out how,
                                pointwise_findings<T>& found);
    group_loop groups, streamed_groups;
    void (*registers)(const void* formula, const pointwise_piece<E>& at, index n, T scale, pointwise_place<T>& place,
                      bool& outside);
    int inputs;
    bool sums, streams, hess;
};

template <class Formula, class E, verb what>
struct pointwise_formula {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int K = pointwise_sums<T>, L = lanes<V>;
    static constexpr int inputs = inputs_of<Formula>();
    // Registers that are computed side by side: their chains of operations hide each other's latency.
    static constexpr int beside = compact                        ? 1
                                  : is_short<Formula>            ? (K < 4 ? K : 4)
                                  : K <= 4 && !branches<Formula> ? K
                                                                 : 1;
    // Second derivatives, which few ask for, and registers of 16 bytes, whose code would be long, stream by way of a
    // buffer.
    static constexpr bool streams = wants_grad(what) && !wants_hess(what) && register_bytes > 16;

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

    // Whole groups of K registers, without weights, streamed or not. What stands side by side is read before any of it
    // is written, as the compiler must not move reads before writes. A function of its own, as the other loop, with
    // copies of its own: what it needs stays in registers, whatever is stored.
    template <bool streamed>
    [[LOSSK_SIDE_BY_SIDE]] static void run_groups(const void* of, const pointwise_piece<E>& piece_at, index n, T scale,
                                                  way_out how, pointwise_findings<T>& found) {
        const Formula formula = *static_cast<const Formula*>(of);
        const pointwise_piece<E> at = piece_at;
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
                    if constexpr (streamed)
                        store_group_streaming(how, at.g + j, g);
                    else if constexpr (wants_grad(what))
                        store_group<way_out::usual>(at.g + j, g);
                    if constexpr (wants_hess(what)) store_group<way_out::usual>(at.h + j, h);
                }
            found.total.add_all(sum);
        }
        if (any<V>(outside)) found.outside = true;
    }

    // Whole registers, whatever is asked for.
    [[LOSSK_ONE_LOOP]] static void run_registers(const void* of, const pointwise_piece<E>& piece_at, index n, T scale,
                                                 pointwise_place<T>& place, bool& found_outside) {
        const Formula formula = *static_cast<const Formula*>(of);
        const pointwise_piece<E> at = piece_at;
        const bits<V> counted = first_lanes<V>(place.counted);
        bits<V> outside{};
        for (index j = 0; j < n; j += L) {
            const whole_register<V> reach{};
            point<V> p = on_inputs<inputs, V>(at, j, reach, T(0), [&](auto... x) {
                if constexpr (has_domain<Formula>) outside |= formula.outside(x...);
                return formula(x...);
            });
            const V w = at.w ? load<V>(at.w + j) : splat<V>(1);
            p = {p.value * w, p.grad * w, p.hess * w};
            if (wants_value(what) && at.each) store(at.each + j, p.value);
            if constexpr (wants_value(what)) {
                place.sum[place.k] += keep(counted, p.value);
                place.k = (place.k + 1) % K;
            }
            if constexpr (wants_grad(what)) store(at.g + j, p.grad * scale);
            if constexpr (wants_hess(what)) store(at.h + j, p.hess * scale);
        }
        if (any<V>(outside & counted)) found_outside = true;
    }

    static constexpr pointwise_loops<E> loops() {
        return {run_groups<false>, run_groups<streams>, run_registers, inputs, wants_value(what),
                streams,           wants_hess(what)};
    }
};

template <class E>
class pointwise_driver {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int K = pointwise_sums<T>, L = lanes<V>;

    const pointwise_args& a;
    const pointwise_loops<E>& loop;
    const void* const formula;
    // Groups, which have neither weights nor single values, stream their gradients themselves. each_result_streamed
    // does it for the rest, and for addresses that are no multiple of 16.
    const bool grouped = !a.w && !a.each;
    const way_out of_groups;
    pointwise_findings<T> found;
    pointwise_inputs<E> in;

    way_out way(index begin) const {
        const bool may = loop.streams && a.streaming && grouped && !piece_buffer<E>::holds(a.kind);
        return may ? streaming_to(static_cast<E*>(a.g) + begin) : way_out::usual;
    }

    // The elements [first, n) of a piece; those that fill no register from a copy that does.
    void run_each(const pointwise_piece<E>& at, index first, index n) {
        const T scale = static_cast<T>(a.scale);
        for (index i = first; i < n; i += piece) {
            const index m = smaller(piece, n - i), whole = m / L * L;
            pointwise_place<T> place{0, L};
            if (whole > 0) loop.registers(formula, at.from(i), whole, scale, place, found.outside);
            if (whole < m) {
                const pointwise_piece<E> last = at.from(i + whole);
                register_copy<E> copy;
                place.counted = static_cast<int>(m - whole);
                loop.registers(formula, copy.take(last, place.counted), L, scale, place, found.outside);
                copy.give(last, place.counted);
            }
            found.total.add_all(place.sum);
        }
    }

    // Elements [i, i + n), derivatives to g and h.
    void run_piece(index i, index n, E* g, E* h) {
        pointwise_piece<E> at = in.read(a, loop.inputs, i, n);
        if (a.w) at.w = static_cast<const T*>(a.w) + i;
        if (a.each) at.each = static_cast<T*>(a.each) + i;
        at.g = g;
        at.h = h;
        const index in_groups = grouped ? n - n % (K * L) : 0;
        const auto groups = of_groups == way_out::usual ? loop.groups : loop.streamed_groups;
        if (in_groups > 0) groups(formula, at, in_groups, static_cast<T>(a.scale), of_groups, found);
        run_each(at, in_groups, n);
    }

public:
    pointwise_driver(const pointwise_args& args, const pointwise_loops<E>& loops, const void* of, index begin)
        : a(args), loop(loops), formula(of), of_groups(way(begin)) {}

    double run(index begin, index end) {
        each_result<E>(
            a, begin, end, loop.hess, of_groups != way_out::usual,
            [](void* self, index i, index n, E* g, E* h) {
                static_cast<pointwise_driver*>(self)->run_piece(i, n, g, h);
            },
            this);
        if (found.outside && a.outside) __atomic_store_n(a.outside, true, __ATOMIC_RELAXED);
        return loop.sums ? found.total.result() : 0.0;
    }
};

template <class E>
[[gnu::noinline]] double run_pointwise(const pointwise_args& a, const pointwise_loops<E>& loops, const void* formula,
                                       index begin, index end) {
    return pointwise_driver<E>(a, loops, formula, begin).run(begin, end);
}

template <class Formula, class E, verb what>
double pointwise_on(const pointwise_args& a, index begin, index end) {
    static constexpr pointwise_loops<E> loops = pointwise_formula<Formula, E, what>::loops();
    const Formula formula{a.parameters};
    return run_pointwise<E>(a, loops, &formula, begin, end);
}

template <class Formula, class T, verb what>
double pointwise(const pointwise_args& a, index begin, index end) {
    if constexpr (requires { typename Formula::usual; })
        if (Formula::is_usual(a.parameters)) return pointwise<typename Formula::usual, T, what>(a, begin, end);
    if constexpr (is_short<Formula> && inputs_of<Formula>() == 2 && sizeof(T) == sizeof(float) && !compact) {
        if (a.kind == storage::bf16) return pointwise_on<Formula, bf16, what>(a, begin, end);
        if (a.kind == storage::f16) return pointwise_on<Formula, f16, what>(a, begin, end);
    }
    return pointwise_on<Formula, T, what>(a, begin, end);
}

}  // namespace
}  // namespace lossk
