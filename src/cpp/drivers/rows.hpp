// Rows of numbers: value, gradient and second derivative of a formula that looks at a row element by element.
//
// A formula has, as far as it needs them,
//     gather(z, y)             summed over the row first: what its elements share (with labels they share z_t)
//     element(z, y, shared)    value, gradient and second derivative of a register of elements, the label's apart
//     label(z_t, others)       those of the label's element, from the sums over the others
#pragma once

#include "../losses/point.hpp"
#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

template <class Formula, class T, verb what>
struct rows_driver {
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes;
    static constexpr bool labelled = Formula::target == row_target::labels;
    static constexpr bool gathers = requires(const Formula& f, V v) { f.gather(v, v); };
    static constexpr bool visits = requires(const Formula& f, V v) { f.element(v, v, T()); };
    static constexpr bool sums_value = wants_value(what);
    static constexpr bool sums_grad = wants_grad(what) && labelled, sums_hess = wants_hess(what) && labelled;

    const rows_args& a;
    const Formula formula{a.parameters, a.classes};
    point<lane_sum<T, K>> sums{};
    piece_buffer<T> z_room, y_room, g_room, h_room;

    explicit rows_driver(const rows_args& args) : a(args) {}

    const T* target(index i, index n, const T* z) {
        return Formula::target == row_target::elements ? y_room.read(a.kind, a.target, i, n) : z;
    }

    void flush() {
        if constexpr (sums_value) sums.value.flush();
        if constexpr (sums_grad) sums.grad.flush();
        if constexpr (sums_hess) sums.hess.flush();
    }

    point<double> take_sums() {
        const point<double> total = {sums_value ? sums.value.result() : 0, sums_grad ? sums.grad.result() : 0,
                                     sums_hess ? sums.hess.result() : 0};
        sums = {};
        return total;
    }

    // Adds the formula on elements [begin, end) to the sums, and writes its derivatives.
    void visit(index begin, index end, T shared, V factor) {
        each_piece(begin, end, [&](index i, index n) {
            const T *z = z_room.read(a.kind, a.z, i, n), *y = target(i, n, z);
            T *g = g_room.place(a.kind, a.g, i), *h = h_room.place(a.kind, a.h, i);
            each_in_groups<V, K>(n, [&](index j, int k, auto reach) {
                const auto p = formula.element(reach.load(z + j), reach.load(y + j), shared);
                if constexpr (sums_value) sums.value.add(k, reach.mask(p.value));
                if constexpr (sums_grad) sums.grad.add(k, reach.mask(p.grad));
                if constexpr (sums_hess) sums.hess.add(k, reach.mask(p.hess));
                if constexpr (wants_grad(what)) reach.store(g + j, p.grad * factor);
                if constexpr (wants_hess(what)) reach.store(h + j, p.hess * factor);
            });
            flush();
            if constexpr (wants_grad(what)) g_room.write(a.kind, a.g, i, n);
            if constexpr (wants_hess(what)) h_room.write(a.kind, a.h, i, n);
        });
    }

    T gather(index begin, index end) {
        lane_sum<T, K> sum;
        each_piece(begin, end, [&](index i, index n) {
            const T *z = z_room.read(a.kind, a.z, i, n), *y = target(i, n, z);
            each_in_groups<V, K>(n, [&](index j, int k, auto reach) {
                sum.add(k, reach.mask(formula.gather(reach.load(z + j), reach.load(y + j))));
            });
            sum.flush();
        });
        return static_cast<T>(sum.result());
    }

    void write_one(piece_buffer<T>& room, void* p, index i, double x) {
        *room.place(a.kind, p, i) = static_cast<T>(x);
        room.write(a.kind, p, i, 1);
    }

    // Exact zeros, whatever z holds.
    void clear(index begin, index end) {
        if constexpr (wants_grad(what)) clear_elements<T>(a.kind, a.g, begin, end);
        if constexpr (wants_hess(what)) clear_elements<T>(a.kind, a.h, begin, end);
    }

    double run_labelled(index begin, index end, index t, double w) {
        const V factor = splat<V>(static_cast<T>(w * a.scale));
        const T z_t = *z_room.read(a.kind, a.z, t, 1);
        if constexpr (visits) {
            visit(begin, t, z_t, factor);
            visit(t + 1, end, z_t, factor);
        } else {
            clear(begin, end);
        }
        const point<double> others = take_sums(), own = formula.label(static_cast<double>(z_t), others);
        if constexpr (wants_grad(what)) write_one(g_room, a.g, t, own.grad * w * a.scale);
        if constexpr (wants_hess(what)) write_one(h_room, a.h, t, own.hess * w * a.scale);
        return (others.value + own.value) * w;
    }

    static double weight(const void* w, index i) { return w ? static_cast<double>(static_cast<const T*>(w)[i]) : 1.0; }

    // The loss of a row, weighed.
    double run_row(index row) {
        const index begin = row * a.classes, end = begin + a.classes;
        const double w = weight(a.row_weight, row);
        if constexpr (labelled) {
            const index t = a.label[row];
            if (t >= 0) return run_labelled(begin, end, begin + t, w * weight(a.class_weight, t));
            clear(begin, end);
            return 0;
        } else {
            T shared{};
            if constexpr (gathers) shared = gather(begin, end);
            visit(begin, end, shared, splat<V>(static_cast<T>(w * a.scale)));
            return take_sums().value * w;
        }
    }

    double run(index begin, index end) {
        double total = 0;
        for (index row = begin; row < end; ++row) {
            const double value = run_row(row);
            if (wants_value(what) && a.each) static_cast<T*>(a.each)[row] = static_cast<T>(value);
            total += value;
        }
        return total;
    }
};

template <class Formula, class T, verb what>
double rows(const rows_args& a, index begin, index end) {
    return rows_driver<Formula, T, what>(a).run(begin, end);
}

}  // namespace
}  // namespace lossk
