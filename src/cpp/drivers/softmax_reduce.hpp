// Softmax rows of many classes, first pass: block by block, e_k = exp(z_k - r) with r near the largest logit so far,
// kept where the gradient will be, and their sum. The next blocks are prefetched meanwhile.
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

// Adds up e_k = exp_k(z_k) without element `t` of the block (negative or past the end: none is left out),
// which is staged away as -infinity, as are the lanes past the end. Calls meanwhile(i) for every whole group, and
// returns the lanes' maxima of as many elements from `coming` on: the block to come.
// A function of its own, so that its constants have the registers to themselves.
template <bool storing, class T, class F>
[[gnu::noinline]] vec<T> exponentiate(const exp_from<T> exp_k, const T* z, index n, index t, T* e,
                                      lane_sum<T, many_classes<T>::K>& total, const T* coming, F meanwhile) {
    using V = vec<T>;
    constexpr int L = lanes<V>, K = many_classes<T>::K;
    constexpr index group = K * L, ahead = 10240 / static_cast<index>(sizeof(T));
    V sum[K]{}, largest[K];
    for (int k = 0; k < K; ++k) largest[k] = splat<V>(lowest<T>);
    const auto exponentiate_group = [&](const T* from, T* to) {
        V x[K];
        for (int k = 0; k < K; ++k) x[k] = exp_k(load<V>(from + k * L));
        for (int k = 0; k < K; ++k) sum[k] += x[k];
        if constexpr (storing)
            for (int k = 0; k < K; ++k) store(to + k * L, x[k]);
    };
    for (index i = 0; i < n; i += group) {
        const index stop = t >= i && t < n ? t / group * group : n / group * group;
        for (; i < stop; i += group) {
            prefetch(z + i, ahead);
            for (int k = 0; k < K; ++k) largest[k] = max(largest[k], load<V>(coming + i + k * L));
            exponentiate_group(z + i, storing ? e + i : e);
            meanwhile(i);
        }
        if (i == n) break;
        alignas(line_bytes) T staged[group];
        const T nothing = -T(__builtin_inf());
        for (int k = 0; k < K; ++k) store(staged + k * L, splat<V>(nothing));
        const index here = smaller(group, n - i);
        each_register<V>(here, [&](index j, auto reach) {
            store(staged + j, reach.load(z + i + j, nothing));
            largest[0] = max(largest[0], reach.load(coming + i + j, lowest<T>));
        });
        if (t >= i && t < n && t - i < group) staged[t - i] = nothing;
        exponentiate_group(staged, staged);
        if (storing) each_register<V>(here, [&](index j, auto reach) { reach.store(e + i + j, load<V>(staged + j)); });
        if (here == group) meanwhile(i);
    }
    for (int k = 0; k < K; ++k) total.add(k, sum[k]);
    total.flush();
    for (int k = 1; k < K; ++k) largest[0] = max(largest[0], largest[k]);
    return largest[0];
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
        alignas(line_bytes) T buffer[row_block];
        const T* y = in.target_block(row, first, n, buffer);
        each_register<vec<T>>(n, [&](index i, auto reach) {
            const auto q = reach.mask(in.linear_weights(y, first, i, reach));
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
    const row_scratch<T>& s;
    T* const kept = in.keeps ? in.kept_row(s, row) : nullptr;
    const bool linear = in.a.label_smoothing > 0 || in.a.target;
    chunk_sums out{0, 0, 0, 0, 0, 0, begin};
    lane_sum<T, K> sum{};
    linear_sums<T> linear_sum{};
    T largest = lowest<T>, tolerated = lowest<T>;
    exp_from<T> exp_k = exp_from<T>::zero();
    // The reference is that of exp_k or, where it is too large for that or there is none yet, what is subtracted first.
    T subtracted = in.capped ? in.cap(splat<V>(lowest<T>))[0] : lowest<T>;
    T anchor = subtracted;  // of the linear sums
    double reference = static_cast<double>(subtracted);
    alignas(line_bytes) T widened[2][row_block];
    const T* z = read_block(begin);  // of the block to come
    V coming = lane_maxima<T>(z, smaller(row_block, end - begin));

    const T* read_block(index first) {
        return in.read(in.a.z, row * in.a.classes + first, smaller(row_block, end - first),
                       widened[first / row_block % 2]);
    }

    // A reference that is too small by 8 does no harm and is not worth a rescaling: e^8 is a small number.
    void raise_reference(bool at_once) {
        const T top = largest_lane(coming), highest = in.capped ? in.cap(splat<V>(top))[0] : top;
        // Without labels the largest probability itself has to be exact, and so has its reference.
        const bool moderate = in.a.label && highest >= -exp_from<T>::limit && highest <= exp_from<T>::limit;
        exp_k = moderate ? exp_from<T>::near(highest) : exp_from<T>::zero();
        subtracted = moderate ? T(0) : highest;
        const double before = reference;
        reference = static_cast<double>(subtracted) + exp_k.reference();
        if (!at_once) sum.scale(exp_of(before - reference));
        if (linear) linear_sum.move_reference(static_cast<double>(anchor) - static_cast<double>(highest));
        anchor = highest;
        tolerated = top + T(8);
    }

    void note_largest(index first, index n) {
        largest = largest_lane(coming);
        out.largest = first + first_equal(z, n, largest);
    }

public:
    chunk_reduction(const many_classes<T>& problem, index r, index chunk, const row_scratch<T>& scratch)
        : in(problem),
          row(r),
          begin(chunk * row_chunk),
          end(smaller(begin + row_chunk, problem.a.classes)),
          t(problem.label(r)),
          s(scratch) {
        if (t < begin || t >= end) return;
        T buffer[1];
        const T z_t = *in.read(in.a.z, row * in.a.classes + t, 1, buffer);
        out.logit_t = static_cast<double>(in.capped ? in.cap(splat<V>(z_t))[0] : z_t);
    }

    // Calls meanwhile(i) for every whole group of the block, i its first element.
    template <class F>
    void block(index first, index n, F meanwhile) {
        if (any<V>(coming > tolerated)) [[unlikely]]
            raise_reference(first == begin);
        if (in.a.correct && any<V>(coming > largest)) [[unlikely]]
            note_largest(first, n);
        const T* x = z;
        const index next = first + row_block, left = end - next;
        if (left > 0) z = read_block(next);

        alignas(line_bytes) T capped_block[row_block];
        if (in.capped) {
            T* y = kept ? kept + first : capped_block;
            each_register<V>(n, [&](index i, auto reach) { reach.store(y + i, in.cap(reach.load(x + i))); });
            x = y;
        }
        if (linear) linear_sum.add(in, x, row, first, n, anchor);
        alignas(line_bytes) T difference[row_block];
        if (subtracted != T(0)) {
            each_register<V>(n, [&](index i, auto reach) { reach.store(difference + i, reach.load(x + i) - subtracted); });
            x = difference;
        }

        // The maxima of a block of another length, the last one's, are found apart.
        const T* const alike = left >= n ? z : x;
        if (kept && !in.capped)
            coming = exponentiate<true>(exp_k, x, n, t - first, kept + first, sum, alike, meanwhile);
        else
            coming = exponentiate<false>(exp_k, x, n, t - first, static_cast<T*>(nullptr), sum, alike, meanwhile);
        if (left > 0 && left < n) coming = lane_maxima<T>(z, left);
        s.reference[first / row_block] = reference;
    }

    chunk_sums result() {
        out.reference = reference;
        out.top = static_cast<double>(largest);
        out.sum = sum.result();
        if (linear) {
            out.mass = linear_sum.weight.result();
            const double away = static_cast<double>(anchor) - reference;
            out.linear = linear_sum.term.result() + linear_sum.moved + (out.mass != 0 ? out.mass * away : 0);
        }
        return out;
    }
};

}  // namespace
}  // namespace lossk
