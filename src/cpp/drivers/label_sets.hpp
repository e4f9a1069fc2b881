// Rows with sets of labels: a formula of each label's element and each other one, and its gradients.
//
// A formula has `other(z, z_t)`: value and gradient of a register of elements that are no labels, from z_t, a label's;
// minus the sum of these gradients is the label's. The target is 0 where an element is no label. Second derivatives
// are 0. Gradients are added up where they will be, so they neither overwrite z nor have 16 bits: Python sees to that.
#pragma once

#include "../losses/point.hpp"
#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

template <class Formula, class T>
class label_sets_driver {
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes;

    const rows_args& a;
    const Formula formula{a.parameters, a.classes};

    struct sums {
        double value, grad;
    };
    // The label's element z_t against the n elements of its row; adds their gradients to g.
    [[gnu::noinline]] static sums against(const Formula formula, const T* z, const T* y, T* g, index n, T z_t,
                                          T factor) {
        lane_sum<T, K> value, grad;
        each_piece(0, n, [&](index begin, index count) {
            each_in_groups<V, K>(count, [&](index i, auto k, auto reach) {
                const index j = begin + i;
                const auto p = formula.other(reach.load(z + j), z_t);
                const bits<V> other = reach.load(y + j) == T(0);
                const V slope = keep(other, reach.mask(p.grad));
                value.add(k, keep(other, reach.mask(p.value)));
                grad.add(k, slope);
                if (g) reach.store(g + j, fma(slope, splat<V>(factor), reach.load(g + j)));
            });
            value.flush();
            grad.flush();
        });
        return {value.result(), grad.result()};
    }

    // What gradients are added to: 0, or NaN where the weight is.
    static void start(void* p, index begin, index end, double weight) {
        if (!p) return;
        clear_elements<T>(storage::same, p, begin, end);
        for (index i = begin; weight != weight && i < end; ++i) static_cast<T*>(p)[i] = static_cast<T>(weight);
    }

    // The loss of a row, weighed.
    double run_row(index row) {
        const index begin = row * a.classes, end = begin + a.classes;
        const T *const z = static_cast<const T*>(a.z) + begin, *const y = static_cast<const T*>(a.target) + begin;
        T* const g = a.g ? static_cast<T*>(a.g) + begin : nullptr;
        const double w = a.row_weight ? static_cast<double>(static_cast<const T*>(a.row_weight)[row]) : 1.0;
        start(a.g, begin, end, w);
        start(a.h, begin, end, w);
        if (w == 0) return 0;
        const double scale = w * a.scale;
        double value = 0;
        for (index t = 0; t < a.classes; ++t) {
            if (y[t] == T(0)) continue;
            const sums of = against(formula, z, y, g, a.classes, z[t], static_cast<T>(scale));
            value += of.value;
            if (g) g[t] = static_cast<T>(-of.grad * scale);
        }
        return value * w;
    }

public:
    explicit label_sets_driver(const rows_args& args) : a(args) {}

    double run(index begin, index end) {
        double total = 0;
        for (index row = begin; row < end; ++row) {
            const double value = run_row(row);
            if (a.each) static_cast<T*>(a.each)[row] = static_cast<T>(value);
            total += value;
        }
        return total;
    }
};

template <class Formula, class T>
double label_sets(const rows_args& a, index begin, index end) {
    return label_sets_driver<Formula, T>(a).run(begin, end);
}

}  // namespace
}  // namespace lossk
