// Softmax rows of few classes: a lane holds a row, so that short rows fill the registers and one logarithm serves many.
//
// A batch of rows is transposed into L1, worked on class by class, and transposed back.
#pragma once

#include "../simd/transpose.hpp"
#include "softmax_common.hpp"

namespace lossk {
namespace {

template <class T>
struct softmax_few {
    using V = vec<T>;
    using I = bits<V>;
    static constexpr int L = lanes<V>;

    // z[k], later e_k and the gradient; the linear weights q_k; second derivatives: class k of L rows.
    struct batch {
        alignas(line_bytes) T z[few_classes][L], q[few_classes][L], h[few_classes][L];
        alignas(line_bytes) T wide[2][few_classes * L];  // rows of z and of anything else, out of 16 bits or into them
    };

    const softmax_args& a;
    const softmax_problem<T> in{a};
    const int classes = static_cast<int>(a.classes);
    const bool linear = a.label_smoothing > 0 || a.target;

    // Calls work(k, n) for blocks of n classes, k the first: whole registers where there are enough classes, the last
    // one overlapping its neighbour.
    template <class F>
    void each_block(F&& work) const {
        for (int k = 0; k < classes; k += L) {
            if (classes - k >= L)
                work(k, L);
            else if (classes >= L)
                work(classes - L, L);
            else
                work(0, classes);
        }
    }

    // rows x classes in memory to classes x L; zeros in the lanes past the last row.
    void gather(const T* from, int rows, T (*to)[L]) const {
        each_block([&](int k, int n) {
            V r[L];
            for (int j = 0; j < L; ++j) {
                const T* at = from + j * classes + k;
                r[j] = j >= rows ? V{} : n == L ? load<V>(at) : load_first<V>(at, n, T(0));
            }
            transpose(r);
            for (int i = 0; i < n; ++i) store(to[k + i], r[i]);
        });
    }
    void scatter(const T (*from)[L], int rows, T* to) const {
        each_block([&](int k, int n) {
            V r[L];
            for (int i = 0; i < L; ++i) r[i] = i < n ? load<V>(from[k + i]) : V{};
            transpose(r);
            for (int j = 0; j < rows; ++j) {
                T* at = to + j * classes + k;
                n == L ? store(at, r[j]) : store_first(at, r[j], n);
            }
        });
    }

    void scatter_to(void* array, const T (*from)[L], index row, int rows, batch& b) const {
        const index first = row * a.classes;
        scatter(from, rows, in.narrow ? b.wide[1] : static_cast<T*>(array) + first);
        if (in.narrow) in.write_narrow(b.wide[1], rows * a.classes, array, first);
    }

    // One value a lane from an array indexed by label; 0 in lanes without a label.
    V by_label(const T* values, I t) const {
        V v{};
        for (int j = 0; j < L; ++j) v[j] = t[j] >= 0 ? values[t[j]] : T(0);
        return v;
    }

    // The labels of a batch; -1 in lanes without one.
    I labels(index row, int rows) const {
        I t = ~I{};
        if (a.label)
            for (int j = 0; j < rows; ++j) t[j] = static_cast<typename bits_type<T>::type>(a.label[row + j]);
        return t;
    }

    // Index of each lane's first largest logit.
    I largest(const T (*z)[L]) const {
        V m = load<V>(z[0]);
        I at{};
        for (int k = 1; k < classes; ++k) {
            const V x = load<V>(z[k]);
            const I larger = x > m;
            m = larger ? x : m;
            at = larger ? at - at + k : at;
        }
        return at;
    }

    // Turns the target's probabilities, where there are any, into linear weights.
    void find_linear_weights(batch& b) const {
        for (int k = 0; k < classes; ++k) {
            const V w = splat<V>(in.class_weight ? in.class_weight[k] : T(1));
            store(b.q[k], in.linear_weight(w, load<V>(b.q[k])));
        }
    }

    // Turns the logits into exponentials (with capping: into capped logits) and sums them.
    row_sums<V> reduce(batch& b, I t) const {
        row_sums<V> s{splat<V>(-T(__builtin_inf())), V{}, splat<V>(-T(__builtin_inf())), V{}, V{}};
        for (int k = 0; k < classes; ++k) {
            V x = load<V>(b.z[k]);
            if (in.capped) store(b.z[k], x = in.cap(x));
            s.maximum = max(s.maximum, x);
        }
        // A row of -infinity alone has no probabilities: leave its exponentials 0, as their sum will tell.
        s.maximum = max(splat<V>(lowest<T>), s.maximum);
        for (int k = 0; k < classes; ++k) {
            const V d = load<V>(b.z[k]) - s.maximum;
            const V e = exp_quick(d);
            const I own = t == k;
            s.others += keep(~own, e);
            s.d_t = own ? d : s.d_t;
            if (linear) {
                const V q = load<V>(b.q[k]);
                s.linear += linear_term(q, d);
                s.mass += q;
            }
            if (!in.capped) store(b.z[k], e);
        }
        if (a.output == row_output::softmax) s.mass = splat<V>(1);  // softmax is the gradient of lse
        return s;
    }

    void write(batch& b, const row_sums<V>& s, const row_result<V>& r, I t, V factor, I counts) const {
        const V two_z_loss = splat<V>(static_cast<T>(2 * a.z_loss));
        for (int k = 0; k < classes; ++k) {
            const V x = load<V>(b.z[k]);
            const V p = (in.capped ? exp_quick(x - s.maximum) : x) * r.inverse;
            const I own = t == k;
            V grad = own ? r.grad_t : softmax_grad(p, r.slope, linear ? load<V>(b.q[k]) : V{});
            V hess = own ? r.hess_t : softmax_hess(p, r.slope, two_z_loss);
            if (in.capped) {
                const V bend = in.cap.slope(x);
                hess = hess * bend * bend + grad * in.cap.curvature(x);
                grad = grad * bend;
            }
            store(b.z[k], keep(counts, grad * factor));
            if (a.h) store(b.h[k], keep(counts, hess * factor));
        }
    }

    void write_log_softmax(batch& b, const T* z, int rows, const row_sums<V>& s, const row_result<V>& r) const {
        gather(z, rows, b.z);
        for (int k = 0; k < classes; ++k) store(b.z[k], (load<V>(b.z[k]) - s.maximum) + log(r.inverse));
    }

    // Rows row .. row + rows - 1; their losses, one a lane.
    V run_batch(index row, int rows, batch& b) const {
        const index first = row * a.classes, n = rows * a.classes;
        const T* z = in.read(a.z, first, n, b.wide[0]);
        const I t = labels(row, rows);
        const I counts = first_lanes<V>(rows) & (a.label ? t >= 0 : ~I{});
        const V weight = in.row_weight ? load_first<V>(in.row_weight + row, rows, T(0)) : splat<V>(1);

        gather(z, rows, b.z);
        if (a.target) gather(in.read(a.target, first, n, b.wide[1]), rows, b.q);
        I predicted{}, wanted = t;
        if (a.correct) {
            predicted = largest(b.z);
            if (a.target) wanted = largest(b.q);
        }
        if (linear) find_linear_weights(b);
        const row_sums<V> s = reduce(b, t);
        V own{}, q_t{};
        if (a.label) {
            const V w = in.class_weight ? by_label(in.class_weight, t) : splat<V>(1);
            own = w * in.keep_share;
            q_t = w * in.even_share;
        }
        const cross_entropy<V> formula{a.label != nullptr, static_cast<T>(a.z_loss)};
        const row_result<V> r = formula(s, own, q_t);
        const V loss = keep(counts, r.loss * weight);

        if (in.lse) store_first(in.lse + row, r.lse, rows);
        if (a.correct)
            for (int j = 0; j < rows; ++j) a.correct[row + j] = predicted[j] == wanted[j] && r.lse[j] == r.lse[j];
        if (in.each) store_first(in.each + row, loss, rows);
        if (a.g) {
            if (a.output == row_output::log_softmax)
                write_log_softmax(b, z, rows, s, r);
            else
                write(b, s, r, t, weight * static_cast<T>(a.scale), counts);
            scatter_to(a.g, b.z, row, rows, b);
            if (a.h) scatter_to(a.h, b.h, row, rows, b);
        }
        return loss;
    }
};

template <class T>
double softmax_short_rows(const softmax_args& a, index begin, index end) {
    using driver_type = softmax_few<T>;
    constexpr int L = driver_type::L;
    const driver_type driver{a};
    typename driver_type::batch b;
    lane_sum<T, 1> total;
    for (index row = begin; row < end; row += L) {
        total.add(0, driver.run_batch(row, static_cast<int>(smaller(L, end - row)), b));
        total.flush();
    }
    return total.result();
}

}  // namespace
}  // namespace lossk
