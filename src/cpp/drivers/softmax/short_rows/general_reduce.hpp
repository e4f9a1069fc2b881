// Short softmax rows: labels and weights of a batch of rows, their exponentials and
// sums.
#pragma once

#include "transpose_rows.hpp"

namespace lossk {
namespace {

template <class T>
struct general_reduction : class_tables<T> {
    using tables = class_tables<T>;
    using tables::a, tables::B, tables::classes, tables::in, tables::K, tables::L;
    using typename tables::batch, typename tables::stream, typename tables::table, typename tables::V;
    using I = bits<V>;
    using lane_int = typename bits_type<T>::type;
    static constexpr int compared_classes = 12;  // up to here comparing is faster than going lane by lane

    // What is known of the rows of a batch.
    struct row_facts {
        alignas(line_bytes) lane_int t[B];               // the label; short_row_classes where there is none
        alignas(line_bytes) T logit[B], own[B], q_t[B];  // the label's (capped) logit and weights
        I counts[K];
        V weight[K];
        row_sums<V> sums[K];
        row_result<V> result[K];
    };

    const bool linear = a.label_smoothing > 0 || a.target;
    const bool compares = classes <= compared_classes;

    explicit general_reduction(const softmax_args& args) : tables(args) {}

    // The labels of the rows in lanes `at` on.
    static I labels(const row_facts& f, int at) {
        I t;
        __builtin_memcpy(&t, f.t + at, sizeof t);
        return t;
    }

    // How many rows the lanes of register k hold.
    static int lanes_of(int k, int rows) { return static_cast<int>(smaller(L, rows > k * L ? rows - k * L : 0)); }

    // Labels, which rows count, and for how much.
    void describe(index row, int rows, row_facts& f) const {
        if (a.label && rows == B) {  // a loop of fixed length is vectorised better
            for (int j = 0; j < B; ++j) f.t[j] = static_cast<lane_int>(a.label[row + j]);
        } else {
            for (int j = 0; j < B; ++j) f.t[j] = a.label && j < rows ? static_cast<lane_int>(a.label[row + j]) : -1;
        }
        for (int k = 0; k < K; ++k) {
            const int n = lanes_of(k, rows);
            const I t = labels(f, k * L);
            f.counts[k] = a.label ? t >= 0 : first_lanes<V>(n);
            f.weight[k] = in.row_weight ? load_first<V>(in.row_weight + row + k * L, n, T(0)) : splat<V>(1);
            f.counts[k] &= f.weight[k] != T(0);
            // The last row of tables; also for labels that change while they are read, which must not do harm.
            const I at = ((t < 0) | (t >= classes)) ? I{} + short_row_classes : t;
            __builtin_memcpy(f.t + k * L, &at, sizeof at);
        }
        const T one = T(a.label != nullptr);
        for (int j = 0; j < B; ++j) f.own[j] = one * in.keep_share, f.q_t[j] = one * in.even_share;
        if (!in.class_weight || !a.label) return;
        for (int j = 0; j < B; ++j) {
            const T w = f.t[j] < short_row_classes ? in.class_weight[f.t[j]] : T(0);
            f.own[j] *= w;
            f.q_t[j] *= w;
        }
    }

    // Turns the target's probabilities, where there are any, into linear weights.
    void find_linear_weights(batch& b) const {
        for (int k = 0; k < classes; ++k) {
            const V w = splat<V>(in.class_weight ? in.class_weight[k] : T(1));
            for (int j = 0; j < B; j += L) store(b.q[k] + j, in.linear_weight(w, load<V>(b.q[k] + j)));
        }
    }

    // The largest (capped) logit of lanes `at` on.
    V maximum(batch& b, int at) const {
        V m = splat<V>(-T(__builtin_inf()));
        for (int k = 0; k < classes; ++k) {
            V x = load<V>(b.z[k] + at);
            if (in.capped) store(b.z[k] + at, x = in.cap(x));
            m = max(m, x);
        }
        // A row of -infinity alone has no probabilities: leave its exponentials 0, as their sum will tell.
        return max(splat<V>(lowest<T>), m);
    }

    void sum_linearly(const batch& b, int at, row_sums<V>& s) const {
        V terms{}, mass{};
        for (int k = 0; k < classes; ++k) {
            const V q = load<V>(b.q[k] + at);
            terms += linear_term(q, load<V>(b.z[k] + at) - s.maximum);
            mass += q;
        }
        s.linear = terms;
        s.mass = mass;
    }

    // The labels' logits go elsewhere and leave -infinity, so that their exponentials are left out of the sums: lane by
    // lane or, where rows are so short that comparing labels with every class pays, register by register.
    void take_labels(batch& b, row_facts& f) const {
        const T nothing = -T(__builtin_inf());
        if (compares) {
            for (int at = 0; at < B; at += L) {
                const I t = labels(f, at);
                V logit = splat<V>(nothing);
                for (int c = 0; c < classes; ++c) {
                    const V x = load<V>(b.z[c] + at);
                    logit = choose<V>(t == c, x, logit);
                    store(b.z[c] + at, choose<V>(t == c, splat<V>(nothing), x));
                }
                store(f.logit + at, logit);
            }
            return;
        }
        for (int j = 0; j < B; ++j) b.z[short_row_classes][j] = nothing;
#pragma GCC unroll 4
        for (int j = 0; j < B; ++j) {
            T* const z_t = &b.z[0][0] + B * f.t[j] + j;
            f.logit[j] = *z_t;
            *z_t = nothing;
        }
    }

    // Turns logits into exponentials (with capping they stay) and returns their sum.
    V exponentiate(batch& b, int at, V maximum) const {
        V sum{};
        for (int k = 0; k < classes; ++k) {
            const V e = exp_quick(load<V>(b.z[k] + at) - maximum);
            sum += e;
            if (!in.capped) store(b.z[k] + at, e);
        }
        return sum;
    }

    void reduce(batch& b, row_facts& f) const {
        for (int k = 0; k < K; ++k) {
            row_sums<V>& s = f.sums[k];
            s.maximum = maximum(b, k * L);
            s.linear = V{};
            s.mass = splat<V>(T(a.output == row_output::softmax));  // softmax is the gradient of lse
            if (linear) sum_linearly(b, k * L, s);
        }
        take_labels(b, f);
        for (int k = 0; k < K; ++k) {
            f.sums[k].others = exponentiate(b, k * L, f.sums[k].maximum);
            f.sums[k].d_t = load<V>(f.logit + k * L) - f.sums[k].maximum;
        }
    }
};

}  // namespace
}  // namespace lossk
