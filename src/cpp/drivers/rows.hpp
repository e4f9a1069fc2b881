// Rows of numbers: value, gradient and second derivative of a formula that looks at a row element by element.
//
// A formula has, as far as it needs them,
//     gather(z, y)             summed over the row first: what its elements share (with labels they share z_t)
//     element(z, y, shared)    value, gradient and second derivative of a register of elements, the label's apart
//     label(z_t, others)       those of the label's element, from the sums over the others
//     domain, outside(y)       targets like z that it is not defined for
#pragma once

#include "../losses/domain.hpp"
#include "reduce.hpp"
#include "result.hpp"

namespace lossk {
namespace {

template <class Formula, class T, verb what>
class rows_driver {
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes;
    using sum = lane_sum<T, K>;
    static constexpr bool labelled = Formula::target == row_target::labels;
    static constexpr bool gathers = requires(const Formula& f, V v) { f.gather(v, v); };
    static constexpr bool visits = requires(const Formula& f, V v) { f.element(v, v, T()); };
    static constexpr bool checks = has_domain<Formula>;
    static constexpr bool sums_value = wants_value(what);
    static constexpr bool sums_grad = wants_grad(what) && labelled, sums_hess = wants_hess(what) && labelled;

    const rows_args& a;
    const Formula formula{a.parameters, a.classes};
    point<sum> sums{};
    sum gathered{};
    bool found_outside = false;
    piece_buffer<T> z, y;
    result_array<T> g, h;

    // What a loop over the elements reads is in the caches when it is overwritten in place.
    static bool streams(const rows_args& a, const void* out) { return a.streaming && !(visits && out == a.z); }

    void flush() {
        if constexpr (sums_value) sums.value.flush();
        if constexpr (sums_grad) sums.grad.flush();
        if constexpr (sums_hess) sums.hess.flush();
    }

    point<double> take_sums() {
        return {sums_value ? sums.value.take_result() : 0, sums_grad ? sums.grad.take_result() : 0,
                sums_hess ? sums.hess.take_result() : 0};
    }

    // Functions of their own, with copies of their own and nothing called: what loops need stays in registers.
    [[gnu::noinline, gnu::flatten]] static void visit_loop(const Formula formula, const T* z, const T* y, T* g, T* h,
                                                           index n, T shared, T factor, point<sum>& total,
                                                           bool& found) {
        bits<V> outside{};
        group_sums<V, K> value(total.value.registers()), grad(total.grad.registers()), hess(total.hess.registers());
        each_in_groups<V, K>(n, [&](index j, auto k, auto reach) {
            const V target = reach.load(y + j);
            if constexpr (checks) outside |= formula.outside(target);
            const auto p = formula.element(reach.load(z + j), target, shared);
            if constexpr (sums_value) value.add(k, reach.mask(p.value));
            if constexpr (sums_grad) grad.add(k, reach.mask(p.grad));
            if constexpr (sums_hess) hess.add(k, reach.mask(p.hess));
            if constexpr (wants_grad(what)) reach.store(g + j, p.grad * factor);
            if constexpr (wants_hess(what)) reach.store(h + j, p.hess * factor);
        });
        if constexpr (sums_value) value.give();
        if constexpr (sums_grad) grad.give();
        if constexpr (sums_hess) hess.give();
        if (checks && any<V>(outside)) found = true;
    }
    [[gnu::noinline, gnu::flatten]] static void gather_loop(const Formula formula, const T* z, const T* y, index n,
                                                            sum& total) {
        group_sums<V, K> part(total.registers());
        each_in_groups<V, K>(n, [&](index j, auto k, auto reach) {
            part.add(k, reach.mask(formula.gather(reach.load(z + j), reach.load(y + j))));
        });
        part.give();
    }

    const T* target(index i, index n, const T* none) {
        return Formula::target == row_target::elements ? y.read(a.kind, a.target, i, n) : none;
    }

    // Adds the formula on elements [begin, end) of the row at `row` to the sums, and writes its derivatives. Pieces end
    // at the same places of all rows, so that what is behind a label is aligned again.
    void visit(index row, index begin, index end, T shared, T factor) {
        for (index i = begin, n; i < end; i += n) {
            n = smaller(piece - (i - row) % piece, end - i);
            const T* from = z.read(a.kind, a.z, i, n);
            T* const to = wants_grad(what) ? g.place(i) : nullptr;
            T* const h_to = wants_hess(what) ? h.place(i) : nullptr;
            visit_loop(formula, from, target(i, n, from), to, h_to, n, shared, factor, sums, found_outside);
            if (i + n < end) flush();
            if constexpr (wants_grad(what)) g.write(i, n);
            if constexpr (wants_hess(what)) h.write(i, n);
        }
    }

    T gather(index begin, index end) {
        each_piece(begin, end, [&](index i, index n) {
            const T* from = z.read(a.kind, a.z, i, n);
            gather_loop(formula, from, target(i, n, from), n, gathered);
            gathered.flush();
        });
        return static_cast<T>(gathered.take_result());
    }

    // Exact zeros, whatever z holds.
    void clear(index begin, index end) {
        if constexpr (wants_grad(what)) g.clear(begin, end);
        if constexpr (wants_hess(what)) h.clear(begin, end);
    }

    double run_labelled(index begin, index end, index t, double w) {
        const double scale = w * a.scale;
        const T z_t = *z.read(a.kind, a.z, t, 1);
        if constexpr (visits) {
            visit(begin, begin, t, z_t, static_cast<T>(scale));
            clear(t, t + 1);
            visit(begin, t + 1, end, z_t, static_cast<T>(scale));
        } else {
            clear(begin, end);
        }
        const point<double> others = take_sums(), own = formula.label(static_cast<double>(z_t), others);
        if constexpr (wants_grad(what)) g.change(t, own.grad * scale);
        if constexpr (wants_hess(what)) h.change(t, own.hess * scale);
        return (others.value + own.value) * w;
    }

    static double weight(const void* w, index i) { return w ? static_cast<double>(static_cast<const T*>(w)[i]) : 1.0; }

    // The loss of a row, weighed.
    double run_row(index row) {
        const index begin = row * a.classes, end = begin + a.classes;
        const double w = weight(a.row_weight, row);
        if (w == 0 || (labelled && a.label[row] < 0)) {
            clear(begin, end);
            return 0;
        }
        if constexpr (labelled) {
            const index t = a.label[row];
            return run_labelled(begin, end, begin + t, w * weight(a.class_weight, t));
        } else {
            T shared{};
            if constexpr (gathers) shared = gather(begin, end);
            visit(begin, begin, end, shared, static_cast<T>(w * a.scale));
            return take_sums().value * w;
        }
    }

public:
    rows_driver(const rows_args& args, index first)
        : a(args),
          g(args.kind, args.g, first * args.classes, wants_grad(what) && streams(args, args.g)),
          h(args.kind, args.h, first * args.classes, wants_hess(what) && streams(args, args.h)) {}

    double run(index begin, index end) {
        double total = 0;
        for (index row = begin; row < end; ++row) {
            const double value = run_row(row);
            if (wants_value(what) && a.each) static_cast<T*>(a.each)[row] = static_cast<T>(value);
            total += value;
        }
        if (found_outside && a.outside) __atomic_store_n(a.outside, true, __ATOMIC_RELAXED);
        return total;
    }
};

template <class Formula, class T, verb what>
double rows(const rows_args& a, index begin, index end) {
    return rows_driver<Formula, T, what>(a, begin).run(begin, end);
}

}  // namespace
}  // namespace lossk
