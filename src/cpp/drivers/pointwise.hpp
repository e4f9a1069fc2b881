// One pass over pointwise arrays: value, gradient and second derivative of a formula for inputs of any length.
//
// What is here is compiled once for all formulas, but for the few lines at the end.
#pragma once

#include "pointwise_loops.hpp"
#include "pointwise_results.hpp"

namespace lossk {
namespace {

template <class E>
class pointwise_driver {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr int K = group_registers, L = lanes<V>;

    const pointwise_args& a;
    const pointwise_loops<E>& loop;
    const void* const formula;
    // Groups stream their gradients themselves. Calls with weights, ignored samples, single losses or second
    // derivatives, registers of 16 bytes, and addresses that are no multiple of 16 are streamed by
    // each_result_streamed.
    const bool grouped = loop.groups && !a.w && !a.each && !a.ignore_nan;
    const store_kind group_stores;
    pointwise_findings<T> found;
    pointwise_inputs<E> in;

    store_kind stores_from(index begin) const {
        const bool may = loop.streams && a.streaming && grouped && !piece_buffer<E>::holds(a.kind);
        return may ? streaming_to(static_cast<E*>(a.g) + begin) : store_kind::cached;
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
        if (a.each) at.each = static_cast<T*>(a.each) + i;
        at.g = g;
        at.h = h;
        const index in_groups = grouped ? n - n % (K * L) : 0;
        const auto groups = group_stores == store_kind::cached ? loop.groups : loop.streamed_groups;
        if (in_groups > 0) groups(formula, at, in_groups, static_cast<T>(a.scale), group_stores, found);
        run_each(at, in_groups, n);
    }

public:
    pointwise_driver(const pointwise_args& args, const pointwise_loops<E>& loops, const void* of, index begin)
        : a(args), loop(loops), formula(of), group_stores(stores_from(begin)) {}

    double run(index begin, index end) {
        each_result<E>(
            a, begin, end, loop.hess, group_stores != store_kind::cached,
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
    // Second derivatives of 16 bits, which hardly anyone asks for, go by way of tiles.
    if constexpr (is_short<Formula> && inputs_of<Formula>() == 2 && sizeof(T) == sizeof(float) && !compact &&
                  !wants_hess(what)) {
        if (a.kind == storage::bf16) return pointwise_on<Formula, bf16, what>(a, begin, end);
        if (a.kind == storage::f16) return pointwise_on<Formula, f16, what>(a, begin, end);
    }
    return pointwise_on<Formula, T, what>(a, begin, end);
}

}  // namespace
}  // namespace lossk
