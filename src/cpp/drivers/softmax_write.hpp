// Softmax rows of many classes, last pass: the gradient from the e_k that reduce kept, scaled by exp(r - maximum).
#pragma once

#include "softmax_rows.hpp"

namespace lossk {
namespace {

template <class T>
struct gradient_writer {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = many_classes<T>::K;
    static constexpr index group = many_classes<T>::group;

    const many_classes<T>& in;

    // g = factor e - constant: every gradient whose linear weights are all alike, and softmax itself.
    template <bool streaming>
    static void write_plain(const T* e, index n, T factor, T constant, T* g) {
        const auto at = [&](auto reach, index i) {
            return fma(reach.load(e + i), splat<V>(factor), splat<V>(-constant));
        };
        index i = 0;
        for (; i + group <= n; i += group) {
            prefetch(e + i, 2 * row_block);
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) {
                const V v = at(whole_register<V>{}, i + k * L);
                streaming ? store_streaming(g + i + k * L, v) : store(g + i + k * L, v);
            }
        }
        each_register<V>(n - i, [&](index j, auto reach) { reach.store(g + i + j, at(reach, i + j)); });
    }

    // Any gradient, with or without second derivative.
    void write_general(const T* kept, index row, index first, index n, T reference, const row_state& r, T* g,
                       T* h) const {
        const T rescale =
            static_cast<T>(r.inverse * exp(splat<vec<double>>(static_cast<double>(reference) - r.maximum))[0]);
        const T inverse = static_cast<T>(r.inverse), maximum = static_cast<T>(r.maximum),
                factor = static_cast<T>(r.factor);
        const V slope = splat<V>(static_cast<T>(r.slope)), two_z_loss = splat<V>(static_cast<T>(2 * in.a.z_loss));
        each_register<V>(n, [&](index i, auto reach) {
            const V x = reach.load(kept + i);
            const V p = in.capped ? exp_quick(x - maximum) * inverse : x * rescale;
            V grad = softmax_grad(p, slope, in.linear_weights(row, first + i, reach));
            V hess = softmax_hess(p, slope, two_z_loss);
            if (in.capped) {
                const V bend = in.cap.slope(x);
                hess = hess * bend * bend + grad * in.cap.curvature(x);
                grad = grad * bend;
            }
            reach.store(g + i, grad * factor);
            if (in.a.h) reach.store(h + i, hess * factor);
        });
    }

    static void write_log_softmax(const T* z, index n, const row_state& r, T* out) {
        const T maximum = static_cast<T>(r.maximum), log_total = static_cast<T>(-log(splat<vec<double>>(r.inverse))[0]);
        each_register<V>(n,
                         [&](index i, auto reach) { reach.store(out + i, (reach.load(z + i) - maximum) - log_total); });
    }

    // The label's element, whose p_t - 1 must not suffer from cancellation.
    void write_label(const row_state& r, T* g_t, T* h_t) const {
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

    // The gradient of a block of a row that counts, to g and h.
    void fill(index row, index first, index n, const row_scratch<T>& s, T* g, T* h, bool streaming) const {
        const row_state& r = *s.state;
        const T reference = s.reference[first / row_block];
        if (in.a.output == row_output::log_softmax)
            return write_log_softmax(in.z + row * in.a.classes + first, n, r, g);
        const T* kept = in.kept_row(s, row) + first;
        if (!in.plain()) return write_general(kept, row, first, n, reference, r, g, h);
        const double shift = static_cast<double>(reference) - r.maximum;
        const double rescale = shift == 0 ? 1.0 : exp(splat<vec<double>>(shift))[0];
        const T factor = static_cast<T>(r.inverse * r.slope * r.factor * rescale);
        const T constant = static_cast<T>(static_cast<double>(in.even_share) * r.factor);
        streaming ? write_plain<true>(kept, n, factor, constant, g) : write_plain<false>(kept, n, factor, constant, g);
    }

    void block(index row, index first, index n, const row_scratch<T>& s) const {
        alignas(line_bytes) T g_tile[row_block], h_tile[row_block];
        T* g_at = in.g + row * in.a.classes + first;
        T* h_at = in.a.h ? in.h + row * in.a.classes + first : h_tile;
        // Streamed at once where the registers fall on whole lines, else by way of a tile.
        const bool at_once = in.a.streaming && in.counts(row) && in.plain() && is_line_aligned(g_at);
        T* g = in.a.streaming && !at_once ? g_tile : g_at;
        T* h = in.a.streaming ? h_tile : h_at;
        if (in.counts(row))
            fill(row, first, n, s, g, h, at_once);
        else
            for (index i = 0; i < n; ++i) g[i] = h[i] = T(0);
        const index t = in.label(row) - first;
        if (static_cast<std::uint64_t>(t) < static_cast<std::uint64_t>(n)) write_label(*s.state, g + t, h + t);
        if (!in.a.streaming) return;
        if (!at_once) stream_block(g_at, g_tile, n);
        if (in.a.h) stream_block(h_at, h_tile, n);
    }
};

}  // namespace
}  // namespace lossk
