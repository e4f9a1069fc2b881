// Softmax rows of few classes: a lane holds a row, so that short rows fill the registers and one logarithm serves many.
//
// A batch of rows is brought to a table in L1, worked on class by class, and brought back (softmax_tables.hpp). Each
// step is made for several registers of rows, whose chains of operations run beside each other.
#pragma once

#include "softmax_tables.hpp"

namespace lossk {
namespace {

template <class T>
struct softmax_few : class_tables<T> {
    using tables = class_tables<T>;
    using tables::a, tables::B, tables::classes, tables::in, tables::K, tables::L;
    using typename tables::batch, typename tables::stream, typename tables::table, typename tables::V;
    using I = bits<V>;
    using lane_int = typename bits_type<T>::type;
    static constexpr int compared_classes = 12;  // up to here comparing is faster than going lane by lane

    // What is known of the rows of a batch.
    struct row_facts {
        alignas(line_bytes) lane_int t[B];               // the label; few_classes where there is none
        alignas(line_bytes) T logit[B], own[B], q_t[B];  // the label's (capped) logit and weights
        I counts[K];
        V weight[K];
        row_sums<V> sums[K];
        row_result<V> result[K];
    };

    const bool linear = a.label_smoothing > 0 || a.target;
    const bool plain = !(linear || in.capped || a.h);
    const bool compares = classes <= compared_classes;

    explicit softmax_few(const softmax_args& args) : tables(args) {}

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
            // The last row of tables; also for labels that change while they are read, which must not do harm.
            const I at = ((t < 0) | (t >= classes)) ? I{} + few_classes : t;
            __builtin_memcpy(f.t + k * L, &at, sizeof at);
        }
        const T one = T(a.label != nullptr);
        for (int j = 0; j < B; ++j) f.own[j] = one * in.keep_share, f.q_t[j] = one * in.even_share;
        if (!in.class_weight || !a.label) return;
        for (int j = 0; j < B; ++j) {
            const T w = f.t[j] < few_classes ? in.class_weight[f.t[j]] : T(0);
            f.own[j] *= w;
            f.q_t[j] *= w;
        }
    }

    // Index of each lane's first largest number.
    I largest(const table& z, int at) const {
        V m = load<V>(z[0] + at);
        I place{};
        for (int k = 1; k < classes; ++k) {
            const V x = load<V>(z[k] + at);
            const I larger = x > m;
            m = larger ? x : m;
            place = larger ? place - place + k : place;
        }
        return place;
    }
    void write_correct(index row, int rows, const batch& b, const row_facts& f) const {
        for (int k = 0; k < K; ++k) {
            const I predicted = largest(b.z, k * L), likeliest = a.target ? largest(b.q, k * L) : I{};
            for (int j = 0; j < lanes_of(k, rows); ++j)
                a.correct[row + k * L + j] = predicted[j] == (a.target ? likeliest[j] : f.t[k * L + j]);
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
    // lane or, where there are only few classes to compare labels with, register by register.
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
        for (int j = 0; j < B; ++j) b.z[few_classes][j] = nothing;
#pragma GCC unroll 4
        for (int j = 0; j < B; ++j) {
            T* const z_t = &b.z[0][0] + B * f.t[j] + j;
            f.logit[j] = *z_t;
            *z_t = nothing;
        }
    }

    // What the labels' elements of a table become.
    void put_labels(table& to, const T (&from)[B], const row_facts& f) const {
        if (!compares) {
            for (int j = 0; j < B; ++j) to[f.t[j]][j] = from[j];
            return;
        }
        for (int at = 0; at < B; at += L) {
            const I t = labels(f, at);
            const V own = load<V>(from + at);
            for (int c = 0; c < classes; ++c) store(to[c] + at, choose<V>(t == c, own, load<V>(to[c] + at)));
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

    // Exponentials to gradients, but for the labels'.
    void write_plain(batch& b, int k, const row_facts& f, V factor) const {
        const V of_e = f.result[k].inverse * f.result[k].slope * factor;
        const I counts = f.counts[k];
        for (int c = 0; c < classes; ++c) {
            T* const z = b.z[c] + k * L;
            store(z, keep(counts, load<V>(z) * of_e));
        }
    }

    void write_general(batch& b, int k, const row_facts& f, V factor) const {
        const V two_z_loss = splat<V>(static_cast<T>(2 * a.z_loss)), maximum = f.sums[k].maximum;
        const V inverse = f.result[k].inverse, slope = f.result[k].slope;
        const I counts = f.counts[k];
        for (int c = 0, at = k * L; c < classes; ++c) {
            const V x = load<V>(b.z[c] + at);
            const V p = (in.capped ? exp_quick(x - maximum) : x) * inverse;
            const slopes s = bent(x, softmax_grad(p, slope, linear ? load<V>(b.q[c] + at) : V{}),
                                  softmax_hess(p, slope, two_z_loss));
            store(b.z[c] + at, keep(counts, s.grad * factor));
            if (a.h) store(b.h[c] + at, keep(counts, s.hess * factor));
        }
    }

    // Derivatives with respect to a logit from those with respect to its capped value x.
    struct slopes {
        V grad, hess;
    };
    slopes bent(V x, V grad, V hess) const {
        if (!in.capped) return {grad, hess};
        const V bend = in.cap.slope(x);
        return {grad * bend, hess * bend * bend + grad * in.cap.curvature(x)};
    }

    void write_log_softmax(batch& b, int k, const row_facts& f) const {
        const V log_total = log(f.result[k].inverse), maximum = f.sums[k].maximum;
        for (int c = 0; c < classes; ++c) {
            T* const z = b.z[c] + k * L;
            store(z, (load<V>(z) - maximum) + log_total);
        }
    }

    // Derivatives of a batch, whose exponentials the table z holds.
    void write(index row, int rows, batch& b, const row_facts& f, stream& g_past, stream& h_past) const {
        if (a.output == row_output::log_softmax) {
            this->gather(a.z, row, rows, b, b.z);
            for (int k = 0; k < K; ++k) write_log_softmax(b, k, f);
        } else {
            alignas(line_bytes) T grad[B], hess[B];  // at the labels
            for (int k = 0; k < K; ++k) {
                const V factor = keep(f.counts[k], f.weight[k] * static_cast<T>(a.scale));
                plain ? write_plain(b, k, f, factor) : write_general(b, k, f, factor);
                const slopes s = bent(load<V>(f.logit + k * L), f.result[k].grad_t, f.result[k].hess_t);
                store(grad + k * L, s.grad * factor);
                store(hess + k * L, s.hess * factor);
            }
            put_labels(b.z, grad, f);
            if (a.h) put_labels(b.h, hess, f);
        }
        this->scatter_to(a.g, b.z, row, rows, b, g_past);
        if (a.h) this->scatter_to(a.h, b.h, row, rows, b, h_past);
    }

    // What single rows are asked for.
    void write_rows(index row, int rows, const row_facts& f) const {
        for (int k = 0; k < K; ++k) {
            const index at = row + k * L;
            const int n = lanes_of(k, rows);
            const V lse = f.result[k].lse;
            if (in.lse) store_first(in.lse + at, lse, n);
            if (in.each) store_first(in.each + at, keep(f.counts[k], f.result[k].loss * f.weight[k]), n);
            for (int j = 0; a.correct && j < n; ++j) a.correct[at + j] &= lse[j] == lse[j];
        }
    }

    // Rows row .. row + rows - 1.
    void run_batch(index row, int rows, batch& b, lane_sum<T, K>& total, stream& g_past, stream& h_past) const {
        row_facts f;
        describe(row, rows, f);
        this->gather(a.z, row, rows, b, b.z);
        if (a.target) this->gather(a.target, row, rows, b, b.q);
        if (a.correct) write_correct(row, rows, b, f);
        if (linear) find_linear_weights(b);
        reduce(b, f);
        const cross_entropy<V> formula{a.label != nullptr, static_cast<T>(a.z_loss)};
        for (int k = 0; k < K; ++k) {
            f.result[k] = formula(f.sums[k], load<V>(f.own + k * L), load<V>(f.q_t + k * L));
            total.add(k, keep(f.counts[k], f.result[k].loss * f.weight[k]));
        }
        total.flush();
        if (in.each || in.lse || a.correct) write_rows(row, rows, f);
        if (a.g) write(row, rows, b, f, g_past, h_past);
    }
};

template <class T>
double softmax_short_rows(const softmax_args& a, index begin, index end) {
    using driver_type = softmax_few<T>;
    const driver_type driver{a};
    typename driver_type::batch b;
    lane_sum<T, driver_type::K> total;
    T *g = static_cast<T*>(a.g), *h = static_cast<T*>(a.h ? a.h : a.g);
    typename driver_type::stream g_past(g + begin * a.classes), h_past(h + begin * a.classes);
    for (index row = begin; row < end; row += driver_type::B)
        driver.run_batch(row, static_cast<int>(smaller(driver_type::B, end - row)), b, total, g_past, h_past);
    if (a.streaming) stream_fence();
    return total.result();
}

}  // namespace
}  // namespace lossk
