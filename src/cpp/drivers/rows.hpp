// Rows of numbers: value, gradient and second derivative of a formula that looks at a row element by element.
//
// A formula has, as far as it needs them,
//     gather(z, y)             summed over the row first: what its elements share (with labels they share z_t)
//     gather_too(z, y)         a second sum; share(first, second) is then what they share
//     element(z, y, shared)    value, gradient and second derivative of a register of elements, the label's apart;
//                              with `weighs_elements`, element(z, y, w) of the classes' weights instead
//     label(z_t, others)       those of the label's element, from the sums over the others
//     domain, outside(y)       targets like z that it is not defined for
// With `is_long`, a formula has so many instructions, or is asked for so seldom, that its code is kept short: one
// kernel for grad_and_hess serves every verb, a register at a time.
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
    static constexpr bool gathers_too = requires(const Formula& f, V v) { f.gather_too(v, v); };
    static constexpr bool weighs = requires { Formula::weighs_elements; };
    static constexpr bool visits = gathers_too || weighs || requires(const Formula& f, V v) { f.element(v, v, T()); };
    static constexpr bool checks = has_domain<Formula>;
    static constexpr bool every = requires { Formula::is_long; };
    static constexpr bool sums_value = wants_value(what) || every;
    static constexpr bool sums_grad = wants_grad(what) && labelled, sums_hess = wants_hess(what) && labelled;

    const rows_args& a;
    const Formula formula{a.parameters, a.classes};
    point<sum> sums{};
    sum gathered{}, gathered_too{};
    bool found_outside = false;
    piece_buffer<T> z, y;
    result_array<T> g, h;

    // What a loop over the elements reads is in the caches when it is overwritten in place.
    static bool streams(const rows_args& a, const void* out) { return a.streaming && !(visits && out == a.z); }

    // Are derivatives to be written? Where one kernel serves every verb, the arrays tell.
    bool writes_grad() const { return wants_grad(what) && (!every || a.g); }
    bool writes_hess() const { return wants_hess(what) && (!every || a.h); }

    template <class F>
    static void each_in_turn(index n, F&& work) {
        if constexpr (every)
            each_register<V>(n, [&](index j, auto reach) { work(j, static_cast<int>(j / lanes<V> % K), reach); });
        else
            each_in_groups<V, K>(n, work);
    }

    void flush() {
        if constexpr (sums_value) sums.value.flush();
        if constexpr (sums_grad) sums.grad.flush();
        if constexpr (sums_hess) sums.hess.flush();
    }

    point<double> take_sums() {
        return {sums_value ? sums.value.take_result() : 0, sums_grad ? sums.grad.take_result() : 0,
                sums_hess ? sums.hess.take_result() : 0};
    }

    // What the formula takes besides z and y: what all elements share, or their weights.
    template <class S, class Reach>
    static auto shared_by(const S& shared, index j, Reach reach) {
        if constexpr (weighs)
            return shared ? reach.load(shared + j) : splat<V>(1);
        else
            return shared;
    }

    // Functions of their own, with copies of their own and nothing called: what loops need stays in registers.
    template <class S>
    [[gnu::noinline, gnu::flatten]] static void visit_loop(const Formula formula, const T* z, const T* y, T* g, T* h,
                                                           index n, const S shared, T factor, point<sum>& total,
                                                           bool& found) {
        bits<V> outside{};
        group_sums<V, K> value(total.value.registers()), grad(total.grad.registers()), hess(total.hess.registers());
        each_in_turn(n, [&](index j, auto k, auto reach) {
            const V target = reach.load(y + j);
            if constexpr (checks) outside |= formula.outside(target);
            const auto p = formula.element(reach.load(z + j), target, shared_by(shared, j, reach));
            if constexpr (sums_value) value.add(k, reach.mask(p.value));
            if constexpr (sums_grad) grad.add(k, reach.mask(p.grad));
            if constexpr (sums_hess) hess.add(k, reach.mask(p.hess));
            if constexpr (wants_grad(what))
                if (!every || g) reach.store(g + j, p.grad * factor);
            if constexpr (wants_hess(what))
                if (!every || h) reach.store(h + j, p.hess * factor);
        });
        if constexpr (sums_value) value.give();
        if constexpr (sums_grad) grad.give();
        if constexpr (sums_hess) hess.give();
        if (checks && any<V>(outside)) found = true;
    }
    [[gnu::noinline, gnu::flatten]] static void gather_loop(const Formula formula, const T* z, const T* y, index n,
                                                            sum& total, sum& total_too) {
        group_sums<V, K> part(total.registers()), part_too(total_too.registers());
        each_in_turn(n, [&](index j, auto k, auto reach) {
            const V at = reach.load(z + j), of = reach.load(y + j);
            part.add(k, reach.mask(formula.gather(at, of)));
            if constexpr (gathers_too) part_too.add(k, reach.mask(formula.gather_too(at, of)));
        });
        part.give();
        if constexpr (gathers_too) part_too.give();
    }

    const T* target(index i, index n, const T* none) {
        return Formula::target == row_target::elements ? y.read(a.kind, a.target, i, n) : none;
    }

    // Adds the formula on elements [begin, end) of the row at `row` to the sums, and writes its derivatives. Pieces end
    // at the same places of all rows, so that what is behind a label is aligned again.
    template <class S>
    void visit(index row, index begin, index end, const S& shared, T factor) {
        for (index i = begin, n; i < end; i += n) {
            n = smaller(piece - (i - row) % piece, end - i);
            const T* from = z.read(a.kind, a.z, i, n);
            T* const to = writes_grad() ? g.place(i) : nullptr;
            T* const h_to = writes_hess() ? h.place(i) : nullptr;
            const auto here = [&] {
                if constexpr (weighs)
                    return shared ? shared + (i - row) : nullptr;
                else
                    return shared;
            };
            visit_loop(formula, from, target(i, n, from), to, h_to, n, here(), factor, sums, found_outside);
            if (i + n < end) flush();
            if (writes_grad()) g.write(i, n);
            if (writes_hess()) h.write(i, n);
        }
    }

    // What the elements of a row share.
    auto gather(index begin, index end) {
        if constexpr (weighs) return static_cast<const T*>(a.class_weight);
        if constexpr (gathers)
            each_piece(begin, end, [&](index i, index n) {
                const T* from = z.read(a.kind, a.z, i, n);
                gather_loop(formula, from, target(i, n, from), n, gathered, gathered_too);
                gathered.flush();
                if constexpr (gathers_too) gathered_too.flush();
            });
        if constexpr (gathers_too)
            return formula.share(gathered.take_result(), gathered_too.take_result());
        else if constexpr (!weighs)
            return gathers ? static_cast<T>(gathered.take_result()) : T{};
    }

    // Exact zeros, whatever z holds.
    void clear(index begin, index end) {
        if (writes_grad()) g.clear(begin, end);
        if (writes_hess()) h.clear(begin, end);
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
            visit(begin, begin, end, gather(begin, end), static_cast<T>(w * a.scale));
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
            if (sums_value && a.each) static_cast<T*>(a.each)[row] = static_cast<T>(value);
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
