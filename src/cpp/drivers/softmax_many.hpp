// Softmax rows of many classes: a lane holds an element of a row, and a row is read from memory once.
//
// A row is cut into chunks (what one thread takes when rows are few) of blocks (what shares a reference maximum).
// reduce: block by block, e_k = exp(z_k - r) with r the largest logit so far, which is kept where the gradient will
// be, and its sum. finish: the row's loss and coefficients from its chunks, in f64. write: the gradient from the e_k,
// scaled by exp(r - maximum). The next blocks are prefetched meanwhile.
#pragma once

#include "softmax_common.hpp"

namespace lossk {
namespace {

// What reduce leaves of a chunk.
struct chunk_sums {
    double reference, sum, linear, mass;
    double logit_t;  // the label's (capped) logit, if it lies in this chunk
    index largest;   // index in the row of the first largest logit
};

// What finish leaves of a row for write, and where it keeps the label's element.
struct row_state {
    double maximum, inverse, slope, factor, logit_t, grad_t, hess_t;
};

// Scratch of one row: its state, its chunks' sums, its blocks' references and, for streamed gradients, its e_k.
template <class T>
struct row_scratch {
    row_state* state;
    chunk_sums* chunk;
    T* reference;
    T* e;

    static index chunks(index classes) { return (classes + row_chunk - 1) / row_chunk; }
    static index blocks(index classes) { return (classes + row_block - 1) / row_block; }

    row_scratch(const softmax_args& a, index slot) {
        char* p = static_cast<char*>(a.scratch) + slot * a.scratch_stride;
        state = reinterpret_cast<row_state*>(p);
        chunk = reinterpret_cast<chunk_sums*>(state + 1);
        reference = reinterpret_cast<T*>(chunk + chunks(a.classes));
        const auto past = reinterpret_cast<std::uintptr_t>(reference + blocks(a.classes));
        e = reinterpret_cast<T*>((past + line_bytes - 1) / line_bytes * line_bytes);
    }
};

template <class T>
struct softmax_many {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = line_bytes / register_bytes;
    static constexpr index group = K * L;  // elements of a cache line
    static constexpr T lowest = sizeof(T) == 4 ? T(-0x1.fffffep127f) : T(-0x1.fffffffffffffp1023);
    static constexpr index ahead = 6144 / static_cast<index>(sizeof(T));

    const softmax_args& a;
    const softmax_problem<T> in{a};
    const soft_cap<V> cap{static_cast<T>(a.softcap)};
    const bool capped = a.softcap > 0;
    // Where the gradient needs them, the e_k (with capping: the capped logits) are kept from reduce to write.
    const bool keeps = a.g && a.output != row_output::log_softmax;

    // Is the gradient a multiple of the e_k, but for a constant?
    bool plain() const { return !(a.h || capped || in.varied() || a.output == row_output::log_softmax); }

    T* kept_row(const row_scratch<T>& s, index row) const { return a.streaming ? s.e : in.g + row * a.classes; }

    // ---- reduce ---------------------------------------------------------------------------------------------

    // The largest element of each lane; `lowest` where there is none. NaN may be lost: the sum will tell.
    static V lane_maxima(const T* z, index n) {
        V m[K];
        for (int k = 0; k < K; ++k) m[k] = splat<V>(lowest);
        index i = 0;
        for (; i + group <= n; i += group)
            for (int k = 0; k < K; ++k) m[k] = max(m[k], load<V>(z + i + k * L));
        each_register<V>(n - i, [&](index j, auto reach) { m[0] = max(m[0], reach.load(z + i + j, lowest)); });
        for (int k = 1; k < K; ++k) m[0] = max(m[0], m[k]);
        return m[0];
    }

    static index first_equal(const T* z, index n, T value) {
        index i = 0;
        while (i + L <= n && !any<V>(load<V>(z + i) == value)) i += L;
        for (; i < n; ++i)
            if (z[i] == value) return i;
        return 0;  // a NaN row
    }

    // Adds up e_k = exp(z_k - reference) without element `t` of the block (negative or past the end: none is left out),
    // which is staged away as -infinity, as are the lanes past the end.
    template <bool storing>
    static void exponentiate(const T* z, index n, T reference, index t, T* e, lane_sum<T, K>& total) {
        V sum[K]{};
        for (index i = 0; i < n; i += group) {
            alignas(line_bytes) T staged[group];
            const T* from = z + i;
            T* to = storing ? e + i : nullptr;
            const bool partial = n - i < group;
            const bool has_t = static_cast<std::uint64_t>(t - i) < static_cast<std::uint64_t>(group);
            if (partial | has_t) [[unlikely]] {
                const T nothing = -T(__builtin_inf());
                for (int k = 0; k < K; ++k) store(staged + k * L, splat<V>(nothing));
                each_register<V>(smaller(group, n - i),
                                 [&](index j, auto reach) { store(staged + j, reach.load(from + j, nothing)); });
                if (has_t) staged[t - i] = nothing;
                from = staged;
                if (partial) to = staged;
            }
            prefetch(z + i, ahead);
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) {
                const V v = exp_quick(load<V>(from + k * L) - reference);
                sum[k] += v;
                if constexpr (storing) store(to + k * L, v);
            }
            if (storing && partial) [[unlikely]]
                each_register<V>(n - i, [&](index j, auto reach) { reach.store(e + i + j, load<V>(staged + j)); });
        }
        for (int k = 0; k < K; ++k) total.add(k, sum[k]);
        total.flush();
    }

    // Linear weights q_k of a register of classes.
    template <class Reach>
    V linear_weights(index row, index k, Reach reach) const {
        if (!in.varied()) return splat<V>(in.even_share);
        const V w = in.class_weight ? reach.load(in.class_weight + k) : splat<V>(1);
        return in.linear_weight(w, in.target ? reach.load(in.target + row * a.classes + k) : V{});
    }

    // Sums of q_k (z_k - reference) and of q_k over the blocks so far.
    struct linear_sums {
        lane_sum<T, 1> term{}, weight{};
        double moved = 0;

        void move_reference(double shift) {
            if (const double mass = weight.result(); mass != 0) moved += mass * shift;
        }
    };
    void add_linear(const T* z, index row, index first, index n, T reference, linear_sums& sums) const {
        each_register<V>(n, [&](index i, auto reach) {
            const V q = reach.mask(linear_weights(row, first + i, reach));
            sums.term.add(0, linear_term(q, reach.load(z + i, reference) - reference));
            sums.weight.add(0, q);
        });
        sums.term.flush();
        sums.weight.flush();
    }

    void apply_cap(const T* z, index n, T* y) const {
        each_register<V>(n, [&](index i, auto reach) { reach.store(y + i, cap(reach.load(z + i))); });
    }

    // Rows that do not count are not even read, unless their statistics are wanted.
    bool skips(index row) const { return !in.counts(row) && !in.lse; }

    // The reduction of one chunk, block by block.
    class chunk_reduction {
        const softmax_many& d;
        const index row, begin, end, t;
        const T* const z = d.in.z + row * d.a.classes;
        const row_scratch<T>& s;
        T* const kept = d.keeps ? d.kept_row(s, row) : nullptr;
        const bool linear = d.a.label_smoothing > 0 || d.in.target;
        chunk_sums out{0, 0, 0, 0, 0, begin};
        lane_sum<T, K> sum{};
        linear_sums linear_sum{};
        T largest = lowest;
        T reference = d.capped ? d.cap(splat<V>(lowest))[0] : lowest;
        V coming = lane_maxima(z + begin, smaller(row_block, end - begin));

        void raise_reference(index first, index n) {
            largest = largest_lane(coming);
            if (d.a.correct) out.largest = first + first_equal(z + first, n, largest);
            const T before = reference;
            reference = d.capped ? d.cap(splat<V>(largest))[0] : largest;
            const double shift = static_cast<double>(before) - static_cast<double>(reference);
            sum.scale(exp(splat<vec<double>>(shift))[0]);
            if (linear) linear_sum.move_reference(shift);
        }

    public:
        chunk_reduction(const softmax_many& driver, index r, index chunk, const row_scratch<T>& scratch)
            : d(driver),
              row(r),
              begin(chunk * row_chunk),
              end(smaller(begin + row_chunk, driver.a.classes)),
              t(driver.a.label ? driver.a.label[r] : -1),
              s(scratch) {
            if (t >= begin && t < end) out.logit_t = static_cast<double>(d.capped ? d.cap(splat<V>(z[t]))[0] : z[t]);
        }

        void block(index first, index n) {
            const index next = first + row_block;
            if (any<V>(coming > largest)) [[unlikely]]
                raise_reference(first, n);
            if (next < end) coming = lane_maxima(z + next, smaller(row_block, end - next));

            const T* x = z + first;
            alignas(line_bytes) T capped_block[row_block];
            if (d.capped) {
                T* y = kept ? kept + first : capped_block;
                d.apply_cap(x, n, y);
                x = y;
            }
            if (linear) d.add_linear(x, row, first, n, reference, linear_sum);
            if (kept && !d.capped)
                exponentiate<true>(x, n, reference, t - first, kept + first, sum);
            else
                exponentiate<false>(x, n, reference, t - first, nullptr, sum);
            s.reference[first / row_block] = reference;
        }

        chunk_sums result() {
            out.reference = static_cast<double>(reference);
            out.sum = sum.result();
            if (linear) {
                out.mass = linear_sum.weight.result();
                out.linear = linear_sum.term.result() + linear_sum.moved;
            }
            return out;
        }
    };

    // The class of the first largest probability in a row's target.
    index likeliest(index row) const {
        const T* y = in.target + row * a.classes;
        return first_equal(y, a.classes, largest_lane(lane_maxima(y, a.classes)));
    }

    // ---- finish ---------------------------------------------------------------------------------------------

    // The row's loss (weighted; 0 where the row does not count), its lse and whether it was predicted correctly.
    double finish(index row, const row_scratch<T>& s) const {
        if (skips(row)) {
            if (in.each) in.each[row] = T(0);
            if (a.correct) a.correct[row] = 0;
            return 0;
        }
        using W = vec<double>;
        const index chunks = row_scratch<T>::chunks(a.classes);
        const index t = a.label ? a.label[row] : -1;

        double maximum = s.chunk[0].reference;
        index largest = s.chunk[0].largest;
        for (index c = 1; c < chunks; ++c)
            if (s.chunk[c].reference > maximum) maximum = s.chunk[c].reference, largest = s.chunk[c].largest;
        row_sums<W> sums{splat<W>(maximum), W{}, splat<W>(-__builtin_inf()), W{}, W{}};
        for (index c = 0; c < chunks; ++c) {
            const double shift = s.chunk[c].reference - maximum;
            sums.others += shift == 0 ? splat<W>(s.chunk[c].sum) : s.chunk[c].sum * exp(splat<W>(shift));
            sums.linear += s.chunk[c].mass != 0 ? s.chunk[c].linear + s.chunk[c].mass * shift : 0.0;
            sums.mass += s.chunk[c].mass;
        }
        if (a.output == row_output::softmax) sums.mass = splat<W>(1);  // softmax is the gradient of lse
        double own = 0, q_t = 0, logit_t = 0;
        if (t >= 0) {
            own = static_cast<double>(in.label_weight(t));
            q_t = static_cast<double>(in.linear_weight_of_label(t));
            logit_t = s.chunk[t / row_chunk].logit_t;
            sums.d_t = splat<W>(logit_t - maximum);
        }
        const cross_entropy<W> formula{a.label != nullptr, a.z_loss};
        const row_result<W> r = formula(sums, splat<W>(own), splat<W>(q_t));

        const double weight = static_cast<double>(in.weight(row)), factor = weight * a.scale;
        *s.state = {maximum, r.inverse[0], r.slope[0], factor, logit_t, r.grad_t[0] * factor, r.hess_t[0] * factor};
        if (in.lse) in.lse[row] = static_cast<T>(r.lse[0]);
        if (a.correct) a.correct[row] = largest == (in.target ? likeliest(row) : t) && r.lse[0] == r.lse[0];
        const double loss = in.counts(row) ? r.loss[0] * weight : 0.0;
        if (in.each) in.each[row] = static_cast<T>(loss);
        return loss;
    }

    // ---- write ----------------------------------------------------------------------------------------------

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
        const V slope = splat<V>(static_cast<T>(r.slope)), two_z_loss = splat<V>(static_cast<T>(2 * a.z_loss));
        each_register<V>(n, [&](index i, auto reach) {
            const V x = reach.load(kept + i);
            const V p = capped ? exp_quick(x - maximum) * inverse : x * rescale;
            V grad = softmax_grad(p, slope, linear_weights(row, first + i, reach));
            V hess = softmax_hess(p, slope, two_z_loss);
            if (capped) {
                const V bend = cap.slope(x);
                hess = hess * bend * bend + grad * cap.curvature(x);
                grad = grad * bend;
            }
            reach.store(g + i, grad * factor);
            if (a.h) reach.store(h + i, hess * factor);
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
        if (capped) {
            const soft_cap<vec<double>> wide{a.softcap};
            const vec<double> y = splat<vec<double>>(r.logit_t);
            const double bend = wide.slope(y)[0];
            hess = hess * bend * bend + grad * wide.curvature(y)[0];
            grad *= bend;
        }
        *g_t = static_cast<T>(grad);
        if (a.h) *h_t = static_cast<T>(hess);
    }

    // The gradient of a block of a row that counts, to g and h.
    void fill_block(index row, index first, index n, const row_scratch<T>& s, T* g, T* h, bool streaming) const {
        const row_state& r = *s.state;
        const T reference = s.reference[first / row_block];
        if (a.output == row_output::log_softmax) return write_log_softmax(in.z + row * a.classes + first, n, r, g);
        const T* kept = kept_row(s, row) + first;
        if (!plain()) return write_general(kept, row, first, n, reference, r, g, h);
        const double shift = static_cast<double>(reference) - r.maximum;
        const double rescale = shift == 0 ? 1.0 : exp(splat<vec<double>>(shift))[0];
        const T factor = static_cast<T>(r.inverse * r.slope * r.factor * rescale);
        const T constant = static_cast<T>(static_cast<double>(in.even_share) * r.factor);
        streaming ? write_plain<true>(kept, n, factor, constant, g) : write_plain<false>(kept, n, factor, constant, g);
    }

    void write_block(index row, index first, index n, const row_scratch<T>& s) const {
        alignas(line_bytes) T g_tile[row_block], h_tile[row_block];
        T* g_at = in.g + row * a.classes + first;
        T* h_at = a.h ? in.h + row * a.classes + first : h_tile;
        // Streamed at once where the registers fall on whole lines, else by way of a tile.
        const bool at_once = a.streaming && in.counts(row) && plain() && is_line_aligned(g_at);
        T* g = a.streaming && !at_once ? g_tile : g_at;
        T* h = a.streaming ? h_tile : h_at;
        if (in.counts(row))
            fill_block(row, first, n, s, g, h, at_once);
        else
            for (index i = 0; i < n; ++i) g[i] = h[i] = T(0);
        const index t = a.label ? a.label[row] - first : -1;
        if (static_cast<std::uint64_t>(t) < static_cast<std::uint64_t>(n)) write_label(*s.state, g + t, h + t);
        if (!a.streaming) return;
        if (!at_once) stream_block(g_at, g_tile, n);
        if (a.h) stream_block(h_at, h_tile, n);
    }

    // ---- a chunk: reduced, written, or one row's reduced while another's is written ---------------------------

    template <class F>
    void each_block(index chunk, F&& work) const {
        const index begin = chunk * row_chunk, end = smaller(begin + row_chunk, a.classes);
        for (index first = begin; first < end; first += row_block) work(first, smaller(row_block, end - first));
    }
    void reduce(index row, index chunk, const row_scratch<T>& s) const {
        if (skips(row)) return;
        chunk_reduction reduction(*this, row, chunk, s);
        each_block(chunk, [&](index first, index n) { reduction.block(first, n); });
        s.chunk[chunk] = reduction.result();
    }
    void write(index row, index chunk, const row_scratch<T>& s) const {
        each_block(chunk, [&](index first, index n) { write_block(row, first, n, s); });
    }
    // Memory is busy with the writes while the cores are with the exponentials.
    void reduce_and_write(index row, index chunk, const row_scratch<T>& s, const row_scratch<T>& before) const {
        if (skips(row)) return write(row - 1, chunk, before);
        chunk_reduction reduction(*this, row, chunk, s);
        each_block(chunk, [&](index first, index n) {
            reduction.block(first, n);
            write_block(row - 1, first, n, before);
        });
        s.chunk[chunk] = reduction.result();
    }
};

template <class T>
double softmax_whole(const softmax_args& a, index begin, index end) {
    const softmax_many<T> driver{a};
    const row_scratch<T> scratch[2] = {row_scratch<T>(a, 0), row_scratch<T>(a, 1)};
    const index chunks = row_scratch<T>::chunks(a.classes);
    double total = 0;
    for (index row = begin; row < end; ++row) {
        const row_scratch<T>&own = scratch[row % 2], &before = scratch[(row + 1) % 2];
        const bool writes = a.g && row > begin;
        for (index chunk = 0; chunk < chunks; ++chunk)
            writes ? driver.reduce_and_write(row, chunk, own, before) : driver.reduce(row, chunk, own);
        total += driver.finish(row, own);
    }
    if (a.g && end > begin)
        for (index chunk = 0; chunk < chunks; ++chunk) driver.write(end - 1, chunk, scratch[(end - 1) % 2]);
    if (a.streaming) stream_fence();
    return total;
}

// The same in three steps for few rows: reduce and write by chunks (item = row * chunks + chunk), finish by rows.
template <class T>
void softmax_reduce(const softmax_args& a, index begin, index end) {
    const softmax_many<T> driver{a};
    const index chunks = row_scratch<T>::chunks(a.classes);
    for (index i = begin; i < end; ++i) driver.reduce(i / chunks, i % chunks, row_scratch<T>(a, i / chunks));
}
template <class T>
double softmax_finish(const softmax_args& a, index begin, index end) {
    const softmax_many<T> driver{a};
    double total = 0;
    for (index row = begin; row < end; ++row) total += driver.finish(row, row_scratch<T>(a, row));
    return total;
}
template <class T>
void softmax_write(const softmax_args& a, index begin, index end) {
    const softmax_many<T> driver{a};
    const index chunks = row_scratch<T>::chunks(a.classes);
    for (index i = begin; i < end; ++i) driver.write(i / chunks, i % chunks, row_scratch<T>(a, i / chunks));
    if (a.streaming) stream_fence();
}

}  // namespace
}  // namespace lossk
