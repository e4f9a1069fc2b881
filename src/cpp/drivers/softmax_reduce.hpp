// Softmax rows of many classes, first pass: block by block, e_k = exp(z_k - r) with r the largest logit so far, kept
// where the gradient will be, and their sum. The next blocks are prefetched meanwhile.
#pragma once

#include "softmax_rows.hpp"

namespace lossk {
namespace {

// The largest element of each lane; `lowest` where there is none. NaN may be lost: the sum will tell.
template <class T, class V = vec<T>>
inline V lane_maxima(const T* z, index n) {
    constexpr int L = lanes<V>, K = many_classes<T>::K;
    constexpr index group = K * L;
    V m[K];
    for (int k = 0; k < K; ++k) m[k] = splat<V>(lowest<T>);
    index i = 0;
    for (; i + group <= n; i += group)
        for (int k = 0; k < K; ++k) m[k] = max(m[k], load<V>(z + i + k * L));
    each_register<V>(n - i, [&](index j, auto reach) { m[0] = max(m[0], reach.load(z + i + j, lowest<T>)); });
    for (int k = 1; k < K; ++k) m[0] = max(m[0], m[k]);
    return m[0];
}

template <class T>
inline index first_equal(const T* z, index n, T value) {
    using V = vec<T>;
    constexpr int L = lanes<V>;
    index i = 0;
    while (i + L <= n && !any<V>(load<V>(z + i) == value)) i += L;
    for (; i < n; ++i)
        if (z[i] == value) return i;
    return 0;  // a NaN row
}

// Adds up e_k = exp(z_k - reference) without element `t` of the block (negative or past the end: none is left out),
// which is staged away as -infinity, as are the lanes past the end.
template <bool storing, class T>
inline void exponentiate(const T* z, index n, T reference, index t, T* e, lane_sum<T, many_classes<T>::K>& total) {
    using V = vec<T>;
    constexpr int L = lanes<V>, K = many_classes<T>::K;
    constexpr index group = K * L, ahead = 6144 / static_cast<index>(sizeof(T));
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

// Sums of q_k (z_k - reference) and of q_k over the blocks so far.
template <class T>
struct linear_sums {
    lane_sum<T, 1> term{}, weight{};
    double moved = 0;

    void move_reference(double shift) {
        if (const double mass = weight.result(); mass != 0) moved += mass * shift;
    }

    void add(const many_classes<T>& in, const T* z, index row, index first, index n, T reference) {
        each_register<vec<T>>(n, [&](index i, auto reach) {
            const auto q = reach.mask(in.linear_weights(row, first + i, reach));
            term.add(0, linear_term(q, reach.load(z + i, reference) - reference));
            weight.add(0, q);
        });
        term.flush();
        weight.flush();
    }
};

// The reduction of one chunk, block by block.
template <class T>
class chunk_reduction {
    using V = vec<T>;
    static constexpr int K = many_classes<T>::K;
    const many_classes<T>& in;
    const index row, begin, end, t;
    const T* const z = in.z + row * in.a.classes;
    const row_scratch<T>& s;
    T* const kept = in.keeps ? in.kept_row(s, row) : nullptr;
    const bool linear = in.a.label_smoothing > 0 || in.target;
    chunk_sums out{0, 0, 0, 0, 0, 0, begin};
    lane_sum<T, K> sum{};
    linear_sums<T> linear_sum{};
    T largest = lowest<T>;
    T reference = in.capped ? in.cap(splat<V>(lowest<T>))[0] : lowest<T>;
    V coming = lane_maxima<T>(z + begin, smaller(row_block, end - begin));

    void raise_reference(index first, index n) {
        largest = largest_lane(coming);
        if (in.a.correct) out.largest = first + first_equal(z + first, n, largest);
        const T before = reference;
        reference = in.capped ? in.cap(splat<V>(largest))[0] : largest;
        const double shift = static_cast<double>(before) - static_cast<double>(reference);
        sum.scale(exp(splat<vec<double>>(shift))[0]);
        if (linear) linear_sum.move_reference(shift);
    }

public:
    chunk_reduction(const many_classes<T>& problem, index r, index chunk, const row_scratch<T>& scratch)
        : in(problem),
          row(r),
          begin(chunk * row_chunk),
          end(smaller(begin + row_chunk, problem.a.classes)),
          t(problem.label(r)),
          s(scratch) {
        if (t >= begin && t < end) out.logit_t = static_cast<double>(in.capped ? in.cap(splat<V>(z[t]))[0] : z[t]);
    }

    void block(index first, index n) {
        const index next = first + row_block;
        if (any<V>(coming > largest)) [[unlikely]]
            raise_reference(first, n);
        if (next < end) coming = lane_maxima<T>(z + next, smaller(row_block, end - next));

        const T* x = z + first;
        alignas(line_bytes) T capped_block[row_block];
        if (in.capped) {
            T* y = kept ? kept + first : capped_block;
            each_register<V>(n, [&](index i, auto reach) { reach.store(y + i, in.cap(reach.load(x + i))); });
            x = y;
        }
        if (linear) linear_sum.add(in, x, row, first, n, reference);
        if (kept && !in.capped)
            exponentiate<true>(x, n, reference, t - first, kept + first, sum);
        else
            exponentiate<false>(x, n, reference, t - first, static_cast<T*>(nullptr), sum);
        s.reference[first / row_block] = reference;
    }

    chunk_sums result() {
        out.reference = static_cast<double>(reference);
        out.top = static_cast<double>(largest);
        out.sum = sum.result();
        if (linear) {
            out.mass = linear_sum.weight.result();
            out.linear = linear_sum.term.result() + linear_sum.moved;
        }
        return out;
    }
};

}  // namespace
}  // namespace lossk
