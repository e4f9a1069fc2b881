// Softmax rows of many classes, last pass: the gradient from the e_k that reduce kept, scaled by exp(r - maximum).
#pragma once

#include "softmax_rows.hpp"

namespace lossk {
namespace {

// The gradient of one chunk of a row, written block by block.
template <class E>
class gradient_writer {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr bool narrow = narrow_element<E>;
    static constexpr int L = lanes<V>;
    static constexpr int K = many_classes<T>::K;
    static constexpr index group = many_classes<T>::group;
    using stream = line_stream<T, row_block>;

    const many_classes<E>& in;
    const index row, begin, end;
    const row_scratch<T>& s;
    E* const g = in.g_row(row);
    E* const h = in.a.h ? in.h_row(row) : g;
    // Plain gradients are streamed at once, by whole lines; others by way of a line_stream.
    const bool plain = in.counts(row) && in.plain(), at_once = plain && in.a.streaming;
    V factor_before{};  // of the block before
    stream g_stream{streamed(g)}, h_stream{streamed(h)};

    T* streamed(E* row_start) const {
        if constexpr (narrow)
            return nullptr;  // never is
        else
            return row_start + begin;
    }

    // g = factor e - constant: every gradient whose linear weights are all alike, and softmax itself.
    template <class G>
    struct plain_block {
        const T* e;
        G* g;
        index n, lead;  // elements, and how many of them come before the first whole line
        V factor, constant;

        V at(V x) const { return fma(x, factor, -constant); }
        template <bool streaming>
        void write_group(index i) const {
            i += lead;
            if (streaming && i + group > n) return;  // the block after writes it
            prefetch(e + i, 2 * row_block);
            for (int k = 0; k < K; ++k) {
                const V v = at(load<V>(e + i + k * L));
                if constexpr (streaming)
                    store_streaming(g + i + k * L, v);
                else
                    store(g + i + k * L, v);
            }
        }
        // The line that begins in the block before, whose factor may be another.
        void write_shared_line(V before) const {
            const index i = lead - group;
            for (int k = 0; k < K; ++k) {
                const int theirs = static_cast<int>(-i) - k * L;
                const bits<V> mask = first_lanes<V>(theirs < 0 ? 0 : theirs);
                const V own = choose<V>(mask, before, factor);
                store_streaming(g + i + k * L, fma(load<V>(e + i + k * L), own, -constant));
            }
        }
        void write_plainly(index i, index stop) const {
            each_register<V>(stop - i, [&](index j, auto reach) { reach.store(g + i + j, at(reach.load(e + i + j))); });
        }
    };

    template <class G>
    plain_block<G> plain_at(index first, index n, G* to) const {
        const row_state& r = *s.state;
        const double rescale = exp_of(s.reference[first / row_block] - r.maximum);
        const index lead = at_once ? (group - past_line(to)) % group : 0;
        return {in.kept_row(s, row) + first,
                to,
                n,
                lead,
                splat<V>(static_cast<T>(r.inverse * r.slope * r.factor * rescale)),
                splat<V>(static_cast<T>(static_cast<double>(in.even_share) * r.factor))};
    }

    template <class F>
    void write_plain(index first, index n, F&& work) {
        const plain_block<E> block = plain_at(first, n, g + first);
        const index lead = smaller(block.lead, n);
        if constexpr (narrow) {
            work([block](index i) { block.template write_group<false>(i); });
        } else {
            if (first == begin)
                block.write_plainly(0, lead);
            else if (lead > 0)
                block.write_shared_line(factor_before);
            at_once ? work([block](index i) { block.template write_group<true>(i); })
                    : work([block](index i) { block.template write_group<false>(i); });
        }
        if (!at_once || first + n == end) block.write_plainly(lead + (n - lead) / group * group, n);
        factor_before = block.factor;
    }

    // Any gradient, with or without second derivative.
    void write_general(index first, index n, T* to, T* h_to) const {
        const row_state& r = *s.state;
        const T* kept = in.kept_row(s, row) + first;
        const T rescale = static_cast<T>(r.inverse * exp_of(s.reference[first / row_block] - r.maximum));
        const T maximum = static_cast<T>(r.maximum), factor = static_cast<T>(r.factor);
        const T inverse = static_cast<T>(r.inverse * exp_of(static_cast<double>(maximum) - r.maximum));
        const V slope = splat<V>(static_cast<T>(r.slope)), two_z_loss = splat<V>(static_cast<T>(2 * in.a.z_loss));
        alignas(line_bytes) T buffer[row_block];
        const T* y = in.target_block(row, first, n, buffer);
        each_register<V>(n, [&](index i, auto reach) {
            const V x = reach.load(kept + i);
            const V p = in.capped ? exp_quick(x - maximum) * inverse : x * rescale;
            V grad = softmax_grad(p, slope, in.linear_weights(y, first, i, reach));
            V hess = softmax_hess(p, slope, two_z_loss);
            if (in.capped) {
                const V bend = in.cap.slope(x);
                hess = hess * bend * bend + grad * in.cap.curvature(x);
                grad = grad * bend;
            }
            reach.store(to + i, grad * factor);
            if (in.a.h) reach.store(h_to + i, hess * factor);
        });
    }

    void write_log_softmax(index first, index n, T* to) const {
        const row_state& r = *s.state;
        const E* z = in.z_row(row) + first;
        const T maximum = static_cast<T>(r.maximum);  // and what it lost by rounding goes to the logarithm
        const T log_total =
            static_cast<T>(r.maximum - static_cast<double>(maximum) - log(splat<vec<double>>(r.inverse))[0]);
        each_register<V>(n,
                         [&](index i, auto reach) { reach.store(to + i, (reach.load(z + i) - maximum) - log_total); });
    }

    // The label's element, whose p_t - 1 must not suffer from cancellation.
    void write_label(T* g_t, T* h_t) const {
        const row_state& r = *s.state;
        double grad = r.grad_t, hess = r.hess_t;
        if (in.capped) {
            const soft_cap<vec<double>> wide{in.a.softcap};
            const vec<double> y = splat<vec<double>>(r.logit_t);
            const double bend = wide.slope(y)[0];
            hess = hess * bend * bend + grad * wide.curvature(y)[0];
            grad *= bend;
        }
        *g_t = static_cast<T>(grad);
        if (in.a.h) *h_t = static_cast<T>(hess);
    }

    // Any block but one that is written by groups.
    void fill(index first, index n, T* to, T* h_to) const {
        if (!in.counts(row))
            for (index i = 0; i < n; ++i) to[i] = h_to[i] = T(0);
        else if (in.a.output == row_output::log_softmax)
            write_log_softmax(first, n, to);
        else
            write_general(first, n, to, h_to);
        const index t = in.label(row) - first;
        if (static_cast<std::uint64_t>(t) < static_cast<std::uint64_t>(n)) write_label(to + t, h_to + t);
    }

    void write_other(index first, index n) {
        if constexpr (narrow) {
            alignas(line_bytes) T g_tile[row_block], h_tile[row_block];
            fill(first, n, g_tile, h_tile);
            narrow_tile(g_tile, n, g + first);
            if (in.a.h) narrow_tile(h_tile, n, h + first);
        } else if (in.a.streaming) {
            fill(first, n, g_stream.here(), h_stream.here());
            g_stream.push(n);
            if (in.a.h) h_stream.push(n);
        } else {
            fill(first, n, g + first, h + first);
        }
    }

public:
    gradient_writer(const many_classes<E>& problem, index r, index chunk, const row_scratch<T>& scratch)
        : in(problem),
          row(r),
          begin(chunk * row_chunk),
          end(smaller(begin + row_chunk, problem.a.classes)),
          s(scratch) {}
    ~gradient_writer() {
        const index t = in.label(row);
        if (!plain || t < begin || t >= end) return;
        T grad{}, hess{};
        write_label(&grad, &hess);
        store_first(g + t, splat<V>(grad), 1);
    }
    gradient_writer(const gradient_writer&) = delete;

    // The gradient of a block. Calls work once, with what is to be called for each whole group of the block meanwhile.
    template <class F>
    void block(index first, index n, F&& work) {
        if (plain) return write_plain(first, n, work);
        work([](index) {});
        write_other(first, n);
    }
    void block(index first, index n) {
        block(first, n, [&](auto write_group) {
            for (index i = 0; i + group <= n; i += group) write_group(i);
        });
    }
};

}  // namespace
}  // namespace lossk
