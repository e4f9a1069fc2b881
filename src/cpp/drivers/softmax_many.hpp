// Softmax rows of many classes: a lane holds an element of a row, and a row is read from memory once.
//
// reduce leaves sums of a row's chunks (softmax_reduce.hpp); finish makes the row's loss and coefficients of them, in
// f64; write makes the gradient (softmax_write.hpp), while the next row is being reduced.
#pragma once

#include "softmax_reduce.hpp"
#include "softmax_write.hpp"

namespace lossk {
namespace {

template <class E>
struct softmax_many {
    using T = arithmetic<E>;
    const many_classes<E> in;

    explicit softmax_many(const softmax_args& a) : in(a) {}

    // The class of the first largest probability in a row's target.
    index likeliest(index row) const {
        alignas(line_bytes) T buffer[row_block];
        T largest = lowest<T>;
        index at = 0;
        for (index first = 0; first < in.a.classes; first += row_block) {
            const index n = smaller(row_block, in.a.classes - first);
            const T* y = in.target_block(row, first, n, buffer);
            const T here = largest_lane(lane_maxima(y, n));
            if (here > largest) largest = here, at = first + first_equal(y, n, here);
        }
        return at;
    }

    // The row's loss (weighted; 0 where the row does not count), its lse and whether it was predicted correctly.
    double finish(index row, const row_scratch<T>& s) const {
        if (in.skips(row)) {
            if (in.each) in.each[row] = T(0);
            if (in.a.correct) in.a.correct[row] = 0;
            return 0;
        }
        using W = vec<double>;
        const index chunks = row_scratch<T>::chunks(in.a.classes);
        const index t = in.label(row);

        double maximum = s.chunk[0].reference, top = s.chunk[0].top;
        index largest = s.chunk[0].largest;
        for (index c = 1; c < chunks; ++c) {
            if (s.chunk[c].reference > maximum) maximum = s.chunk[c].reference;
            if (s.chunk[c].top > top) top = s.chunk[c].top, largest = s.chunk[c].largest;
        }
        const double logit_t = t >= 0 ? s.chunk[t / row_chunk].logit_t : 0;
        // References are near the largest logit. Where that may be the label's, its own is taken: p - 1 keeps its
        // digits.
        if (t >= 0 && logit_t > maximum - 1) maximum = logit_t;
        row_sums<W> sums{splat<W>(maximum), W{}, splat<W>(-__builtin_inf()), W{}, W{}};
        for (index c = 0; c < chunks; ++c) {
            const double shift = s.chunk[c].reference - maximum;
            sums.others += s.chunk[c].sum * exp_of(shift);
            sums.linear += s.chunk[c].mass != 0 ? s.chunk[c].linear + s.chunk[c].mass * shift : 0.0;
            sums.mass += s.chunk[c].mass;
        }
        if (in.a.output == row_output::softmax) sums.mass = splat<W>(1);  // softmax is the gradient of lse
        double own = 0, q_t = 0;
        if (t >= 0) {
            own = static_cast<double>(in.label_weight(t));
            q_t = static_cast<double>(in.linear_weight_of_label(t));
            sums.d_t = splat<W>(logit_t - maximum);
        }
        const cross_entropy<W> formula{in.a.label != nullptr, in.a.z_loss};
        const row_result<W> r = formula(sums, splat<W>(own), splat<W>(q_t));

        const double weight = static_cast<double>(in.weight(row)), factor = weight * in.a.scale;
        *s.state = {maximum, r.inverse[0], r.slope[0], factor, logit_t, r.grad_t[0] * factor, r.hess_t[0] * factor};
        if (in.lse) in.lse[row] = static_cast<T>(r.lse[0]);
        if (in.a.correct) in.a.correct[row] = largest == (in.a.target ? likeliest(row) : t) && r.lse[0] == r.lse[0];
        const double loss = in.counts(row) ? r.loss[0] * weight : 0.0;
        if (in.each) in.each[row] = static_cast<T>(loss);
        return loss;
    }

    template <class F>
    void each_block(index chunk, F&& work) const {
        const index begin = chunk * row_chunk, end = smaller(begin + row_chunk, in.a.classes);
        for (index first = begin; first < end; first += row_block) work(first, smaller(row_block, end - first));
    }
    void reduce(index row, index chunk, const row_scratch<T>& s) const {
        if (in.skips(row)) return;
        chunk_reduction<E> reduction(in, row, chunk, s);
        each_block(chunk, [&](index first, index n) { reduction.block(first, n, [](index) {}); });
        s.chunk[chunk] = reduction.result();
    }
    void write(index row, index chunk, const row_scratch<T>& s) const {
        gradient_writer<E> writer(in, row, chunk, s);
        each_block(chunk, [&](index first, index n) { writer.block(first, n); });
    }
    // Memory is busy with the writes while the cores are with the exponentials.
    void reduce_and_write(index row, index chunk, const row_scratch<T>& s, const row_scratch<T>& before) const {
        if (in.skips(row)) return write(row - 1, chunk, before);
        chunk_reduction<E> reduction(in, row, chunk, s);
        gradient_writer<E> writer(in, row - 1, chunk, before);
        each_block(chunk, [&](index first, index n) {
            writer.block(first, n, [&](auto meanwhile) { reduction.block(first, n, meanwhile); });
        });
        s.chunk[chunk] = reduction.result();
    }
};

template <class E, class T = arithmetic<E>>
double run_whole(const softmax_args& a, index begin, index end) {
    const softmax_many<E> driver(a);
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
template <class E, class T = arithmetic<E>>
void run_reduce(const softmax_args& a, index begin, index end) {
    const softmax_many<E> driver(a);
    const index chunks = row_scratch<T>::chunks(a.classes);
    for (index i = begin; i < end; ++i) driver.reduce(i / chunks, i % chunks, row_scratch<T>(a, i / chunks));
}
template <class E, class T = arithmetic<E>>
double run_finish(const softmax_args& a, index begin, index end) {
    const softmax_many<E> driver(a);
    double total = 0;
    for (index row = begin; row < end; ++row) total += driver.finish(row, row_scratch<T>(a, row));
    return total;
}
template <class E, class T = arithmetic<E>>
void run_write(const softmax_args& a, index begin, index end) {
    const softmax_many<E> driver(a);
    const index chunks = row_scratch<T>::chunks(a.classes);
    for (index i = begin; i < end; ++i) driver.write(i / chunks, i % chunks, row_scratch<T>(a, i / chunks));
    if (a.streaming) stream_fence();
}

// Calls of(E()) with the elements that memory holds.
template <class T, class F>
inline auto with_elements(storage kind, F&& of) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (kind == storage::bf16) return of(bf16());
        if (kind == storage::f16) return of(f16());
    }
    return of(T());
}

template <class T>
double softmax_whole(const softmax_args& a, index begin, index end) {
    return with_elements<T>(a.kind, [&](auto e) { return run_whole<decltype(e)>(a, begin, end); });
}
template <class T>
void softmax_reduce(const softmax_args& a, index begin, index end) {
    with_elements<T>(a.kind, [&](auto e) { run_reduce<decltype(e)>(a, begin, end); });
}
template <class T>
double softmax_finish(const softmax_args& a, index begin, index end) {
    return with_elements<T>(a.kind, [&](auto e) { return run_finish<decltype(e)>(a, begin, end); });
}
template <class T>
void softmax_write(const softmax_args& a, index begin, index end) {
    with_elements<T>(a.kind, [&](auto e) { run_write<decltype(e)>(a, begin, end); });
}

}  // namespace
}  // namespace lossk
