// Softmax cross-entropy of short rows with labels: rows go from memory to the lanes of registers, and their gradients
// straight back.
//
// Labels are compared with classes, or looked up within bounds: those that change while they are read do no harm.
#pragma once

#include "../../../simd/short_rows.hpp"
#include "batches.hpp"

namespace lossk {
namespace {

// `fixed` classes, in registers; 0: any number from 4 on. by_rows: something is said of single rows.
template <class T, int fixed, bool by_rows, template <class> class loss_of = label_loss>
struct labelled_rows {
    using V = vec<T>;
    using I = bits<V>;
    using row_loss = loss_of<V>;
    using row_sums = typename row_loss::sums;
    static constexpr int L = lanes<V>, K = label_batch<T> / L;
    static constexpr int buffer_size = fixed > 0 ? fixed : short_row_classes;
    using rows_type = short_rows<V, fixed>;

    // The exponentials of a register of rows. Rows that do not count become rows of zeros.
    static row_sums reduce(rows_type in, const T* z, I t, const smoothing<V>& o, V (&e)[buffer_size]) {
        V x[buffer_size], m = splat<V>(-T(__builtin_inf()));
        in.load(z, [&](int k, const auto& r) {
            for (int i = 0; i < in.group; ++i) m = max(m, x[k + i] = r[i]);
        });
        const I ignored = t < 0;
        if (any<V>(ignored)) [[unlikely]] {
            m = keep(~ignored, m);
            each_class<fixed>(in.n, [&](int c) { x[c] = keep(~ignored, x[c]); });
        }
        row_sums sums(m, o);
        each_class<fixed>(in.n, [&](int c) {
            const V d = x[c] - m;
            e[c] = exp_quick(d);
            sums.add(d, e[c], t == c);
        });
        return sums;
    }

    // Adds the losses of a batch to `part`, and writes its gradients.
    static void run_batch(const label_rows<T>& a, index row, V (&part)[K]) {
        const rows_type in{fixed > 0 ? fixed : a.classes};
        V e[K][buffer_size];
        I t[K];
        row_sums s[K];
#pragma GCC unroll 1
        for (int k = 0; k < K; ++k) {
            t[k] = load_labels<V>(a.label + row + k * L);
            if constexpr (by_rows) t[k] |= a.template weightless<V>(row + k * L);
            s[k] = reduce(in, a.z + (row + k * L) * in.n, t[k], a.options, e[k]);
        }
#pragma GCC unroll 1
        for (int k = 0; k < K; ++k) {
            const I of = t[k], counts = ~(of < 0);
            row_loss r(s[k], keep(counts, splat<V>(a.scale)), a.options);
            if constexpr (by_rows) a.weigh(row + k * L, counts, r);
            r.loss = keep(counts, r.loss);
            if constexpr (by_rows) a.keep_losses(row + k * L, r.loss);
            part[k] = fma(r.loss, splat<V>(T(1) / batches_a_sum), part[k]);
            if (!a.g) continue;
            in.store(a.g + (row + k * L) * in.n, [&](int c, auto& g) {
                const I t_c = (I)((unsigned_bits<V>)of - static_cast<typename bits_type<T>::wrapping>(c));
                for (int i = 0; i < in.group; ++i) g[i] = choose<V>(t_c == i, r.grad_t, r.grad(e[k][c + i]));
            });
        }
    }
};

// Two classes: so little work that all registers of a batch are computed side by side.
template <class T, bool wants_grad, bool by_rows>
struct labelled_pairs {
    using V = vec<T>;
    using I = bits<V>;
    static constexpr int L = lanes<V>, K = label_batch<T> / L;

    static void run_batch(const label_rows<T>& a, index row, V (&part)[K]) {
        const short_rows<V, 2> in{2};
        V z[K][2];
        I t[K], counts[K], ignored{};
        unrolled<K>([&](auto k) {
            t[k] = load_labels<V>(a.label + row + k * L);
            if constexpr (by_rows) t[k] |= a.template weightless<V>(row + k * L);
            ignored |= t[k] < 0;
            counts[k] = ~(t[k] < 0);
            in.load(a.z + (row + k * L) * 2, [&](int, const auto& r) { z[k][0] = r[0], z[k][1] = r[1]; });
        });
        if (any<V>(ignored)) [[unlikely]]
            unrolled<K>([&](auto k) {
                for (int c = 0; c < 2; ++c) z[k][c] = keep(counts[k], z[k][c]);
            });
        unrolled<K>([&](auto k) {
            const V w = by_rows ? a.template weights<V>(row + k * L) : splat<V>(1);
            const V of_label = by_rows ? a.template label_weights<V>(row + k * L) : splat<V>(1);
            const two_classes_loss<V> r(z[k][0], z[k][1], t[k], of_label, w * of_label * a.scale);
            const V loss = keep(counts[k], r.loss * w);
            part[k] = fma(loss, splat<V>(T(1) / batches_a_sum), part[k]);
            if constexpr (by_rows) a.keep_losses(row + k * L, loss);
            if (wants_grad && (!by_rows || a.g))
                in.store(a.g + (row + k * L) * 2, [&](int, auto& g) {
                    g[0] = keep(counts[k], r.grad_0);
                    g[1] = keep(counts[k], r.grad_1);
                });
        });
    }
};

}  // namespace
}  // namespace lossk
