// Softmax cross-entropy of short rows with soft targets: rows of both go from memory to the lanes of
// registers, and gradients straight back.
#pragma once

#include "../../../simd/short_rows.hpp"
#include "batches.hpp"

namespace lossk {
namespace {

// `fixed` classes, in registers; 0: any number from 4 on.
template <class T, int fixed>
struct soft_target_rows {
    using V = vec<T>;
    static constexpr int L = lanes<V>, K = label_batch<T> / L;
    static constexpr int buffer_size = fixed > 0 ? fixed : short_row_classes;
    using rows_type = short_rows<V, fixed>;

    // The exponentials and the weights of a register of rows.
    static target_sums<V> reduce(rows_type in, const T* z, const T* y, const smoothing<V>& o, V (&e)[buffer_size],
                                 V (&q)[buffer_size]) {
        V m = splat<V>(-T(__builtin_inf()));
        in.load(z, [&](int k, const auto& r) {
            for (int i = 0; i < in.group; ++i) m = max(m, e[k + i] = r[i]);
        });
        in.load(y, [&](int k, const auto& r) {
            for (int i = 0; i < in.group; ++i) q[k + i] = fma(r[i], o.keep_share, splat<V>(o.even_share));
        });
        target_sums<V> sums(m);
        each_class<fixed>(in.n, [&](int c) {
            const V d = e[c] - m;
            e[c] = exp_quick(d);
            sums.add(d, e[c], q[c]);
        });
        return sums;
    }

    static void run_batch(const label_rows<T>& a, index row, V (&part)[K]) {
        const rows_type in{fixed > 0 ? fixed : a.classes};
#pragma GCC unroll 1
        for (int k = 0; k < K; ++k) {
            const index at = row + k * L;
            V e[buffer_size], q[buffer_size];
            target_loss<V> r(reduce(in, a.z + at * in.n, a.target + at * in.n, a.options, e, q), splat<V>(a.scale),
                             a.options);
            const bits<V> counts = ~a.template weightless<V>(at);
            if (a.weight) r.weigh(load<V>(a.weight + at));
            r.loss = keep(counts, r.loss);
            a.keep_losses(at, r.loss);
            part[k] = fma(r.loss, splat<V>(T(1) / batches_a_sum), part[k]);
            if (!a.g) continue;
            in.store(a.g + at * in.n, [&](int c, auto& g) {
                for (int i = 0; i < in.group; ++i) g[i] = keep(counts, r.grad(e[c + i], q[c + i]));
            });
        }
    }
};

}  // namespace
}  // namespace lossk
