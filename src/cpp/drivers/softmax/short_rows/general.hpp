// Short softmax rows: their losses, gradients and second derivatives.
//
// A batch of rows is brought to a table in L1, worked on class by class, and brought back
// (short_rows/transpose_rows.hpp). Each step is made for several registers of rows, whose chains of operations are
// interleaved.
#pragma once

#include "general_reduce.hpp"

namespace lossk {
namespace {

template <class T>
struct general_short_rows : general_reduction<T> {
    using base = general_reduction<T>;
    using base::a, base::B, base::classes, base::compares, base::describe, base::find_linear_weights, base::in, base::K,
        base::L, base::labels, base::lanes_of, base::linear, base::reduce;
    using typename base::batch, typename base::I, typename base::row_facts, typename base::stream, typename base::table,
        typename base::V;
    // Losses are added up in lanes of 128 bytes, of which a batch is some, or several times all: so sums are those of
    // every ISA with an fma.
    static constexpr int sums = 128 / register_bytes;
    using loss_sum = lane_sum<T, sums>;
    const bool plain = !(linear || in.capped || a.h);

    explicit general_short_rows(const softmax_args& args) : base(args) {}

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
        const V maximum = f.sums[k].maximum, inverse = f.result[k].inverse;
        const V slope = f.result[k].slope, square = f.result[k].square;
        const I counts = f.counts[k];
        for (int c = 0, at = k * L; c < classes; ++c) {
            const V x = load<V>(b.z[c] + at);
            const V p = (in.capped ? exp_quick(x - maximum) : x) * inverse;
            const slopes s =
                bent(x, softmax_grad(p, slope, linear ? load<V>(b.q[c] + at) : V{}), softmax_hess(p, slope, square));
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
                store(grad + k * L, keep(f.counts[k], s.grad * factor));
                store(hess + k * L, keep(f.counts[k], s.hess * factor));
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
            const V lse = f.result[k].lse, mass = f.sums[k].mass;
            if (in.lse) store_first(in.lse + at, lse, n);
            if (in.each) store_first(in.each + at, keep(f.counts[k], f.result[k].loss * f.weight[k]), n);
            for (int j = 0; a.correct && j < n; ++j)
                a.correct[at + j] &= lse[j] == lse[j] && (!a.target || mass[j] == mass[j]);
        }
    }

    // Rows row .. row + rows - 1, of those from `begin` on.
    void run_batch(index begin, index row, int rows, batch& b, loss_sum& total, stream& g_past, stream& h_past) const {
        const int first = K < sums ? static_cast<int>((row - begin) / L % sums) : 0;
        row_facts f;
        describe(row, rows, f);
        this->gather(a.z, row, rows, b, b.z);
        if (a.target) this->gather(a.target, row, rows, b, b.q);
        if (a.correct) write_correct(row, rows, b, f);
        if (linear) find_linear_weights(b);
        reduce(b, f);
        const cross_entropy<V> formula{a.label != nullptr, a};
        for (int k = 0; k < K; ++k) {
            f.result[k] = formula(f.sums[k], load<V>(f.own + k * L), load<V>(f.q_t + k * L));
            const int to = (first + k) % sums;
            total.add(to, keep(f.counts[k], f.result[k].loss * f.weight[k]));
            if (to == sums - 1) total.flush();
        }
        if (in.each || in.lse || a.correct) write_rows(row, rows, f);
        if (a.g) write(row, rows, b, f, g_past, h_past);
    }
};

template <class T>
double run_general_short_rows(const softmax_args& a, index begin, index end) {
    using driver_type = general_short_rows<T>;
    const driver_type driver{a};
    typename driver_type::batch b;
    typename driver_type::loss_sum total;
    const auto from_begin = [&](void* p) { return p ? static_cast<T*>(p) + begin * a.classes : nullptr; };
    typename driver_type::stream g_past(from_begin(a.g)), h_past(from_begin(a.h));
    for (index row = begin; row < end; row += driver_type::B)
        driver.run_batch(begin, row, static_cast<int>(smaller(driver_type::B, end - row)), b, total, g_past, h_past);
    if (a.streaming) stream_fence();
    return total.result();
}

}  // namespace
}  // namespace lossk
