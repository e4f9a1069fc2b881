// Long softmax rows: a lane holds an element of a row, and a row is read from memory once.
//
// reduce leaves sums of a row's chunks (reduce.hpp); normalise makes the row's loss and coefficients of them, in f64
// (normalise.hpp); write makes the result (write.hpp), while a later row is being reduced.
#pragma once

#include "normalise.hpp"
#include "reduce.hpp"
#include "write.hpp"

namespace lossk {
namespace {

template <class E>
void each_block(const long_rows<E>& in, index chunk, auto&& work) {
    const index begin = chunk * row_chunk, end = smaller(begin + row_chunk, in.a.classes);
    for (index first = begin; first < end; first += row_block) work(first, smaller(row_block, end - first));
}

// The passes over one chunk of a row, by kind.
template <class E>
struct row_passes {
    using problem = long_rows<E>;
    using scratch = row_scratch<arithmetic<E>>;
    using ahead = row_ahead<arithmetic<E>>;
    void (*reduce)(const problem&, index row, index chunk, const scratch&, ahead&);
    void (*write)(const problem&, index row, index chunk, const scratch&);
    // Reduces a row while another is written: memory is busy with the writes while the cores are with the exponentials.
    void (*reduce_and_write)(const problem&, index row, const scratch&, index done, const scratch& of_done, index chunk,
                             ahead&);
};

template <class E, row_kind kind>
void reduce_row(const long_rows<E>& in, index row, index chunk, const row_scratch<arithmetic<E>>& s,
                row_ahead<arithmetic<E>>& ahead) {
    if (in.skips(row)) return;
    chunk_reduction<E, reduced_as(kind)> reduction(in, row, chunk, s, ahead);
    each_block(in, chunk, [&](index first, index n) { reduction.block(first, n, idle{}); });
    s.chunk[chunk] = reduction.result();
}
template <class E, row_kind kind>
void write_row(const long_rows<E>& in, index row, index chunk, const row_scratch<arithmetic<E>>& s) {
    result_writer<E, written_as(kind)> writer(in, row, chunk, s);
    each_block(in, chunk, [&](index first, index n) { writer.block(first, n); });
}
template <class E, row_kind kind>
void reduce_and_write_row(const long_rows<E>& in, index row, const row_scratch<arithmetic<E>>& s, index done,
                          const row_scratch<arithmetic<E>>& of_done, index chunk, row_ahead<arithmetic<E>>& ahead) {
    if (in.skips(row)) return write_row<E, written_as(kind)>(in, done, chunk, of_done);
    chunk_reduction<E, reduced_as(kind)> reduction(in, row, chunk, s, ahead);
    result_writer<E, written_as(kind)> writer(in, done, chunk, of_done);
    each_block(in, chunk, [&](index first, index n) {
        writer.block(first, n, [&](const auto& meanwhile) { reduction.block(first, n, meanwhile); });
    });
    s.chunk[chunk] = reduction.result();
}

template <class E, row_kind kind>
constexpr row_passes<E> passes_of_kind() {
    return {reduce_row<E, reduced_as(kind)>, write_row<E, written_as(kind)>, reduce_and_write_row<E, kind>};
}
template <class E>
inline const row_passes<E>& passes_of(const long_rows<E>& in) {
    static constexpr row_passes<E> by_kind[] = {
        passes_of_kind<E, row_kind::labels>(),
        passes_of_kind<E, compact ? row_kind::other : row_kind::smoothed>(),
        passes_of_kind<E, compact ? row_kind::other : row_kind::targets>(),
        passes_of_kind<E, compact ? row_kind::other : row_kind::capped>(),
        passes_of_kind<E, row_kind::softmax>(),
        passes_of_kind<E, row_kind::log_softmax>(),
        passes_of_kind<E, row_kind::other>(),
    };
    return by_kind[static_cast<int>(in.kind())];
}

// Rows [begin, end), as many at once as half the slots hold. Returns the sum of their losses.
template <class E>
double whole_rows(const long_rows<E>& in, index begin, index end) {
    using T = arithmetic<E>;
    const row_passes<E>& pass = passes_of(in);
    const index at_once = softmax_slots(in.a.classes) / 2;
    const row_slots<T> slot(in.a, begin, end);
    const auto each_chunk = [&](auto&& work) {
        for (index chunk = 0; chunk < softmax_chunks(in.a.classes); ++chunk) work(chunk);
    };
    row_normaliser<E> normalise(in);
    row_ahead<T> ahead{end};
    double total = 0;
    index written = in.a.g ? begin : end;
    for (index row = begin; row < end; row += at_once) {
        const index n = smaller(at_once, end - row);
        for (index j = row; j < row + n; ++j) {
            const index done = j - at_once;
            if (done < written) {
                each_chunk([&](index chunk) { pass.reduce(in, j, chunk, slot(j), ahead); });
            } else {
                each_chunk([&](index chunk) { pass.reduce_and_write(in, j, slot(j), done, slot(done), chunk, ahead); });
                written = done + 1;
            }
        }
        total += normalise(row, n, slot);
    }
    for (; written < end; ++written) each_chunk([&](index chunk) { pass.write(in, written, chunk, slot(written)); });
    return total;
}

// Calls work(problem) for the elements that memory holds.
template <class T, class F>
inline auto with_elements(const softmax_args& a, F&& work) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (a.kind == storage::bf16) return work(long_rows<bf16>(a));
        if (a.kind == storage::f16) return work(long_rows<f16>(a));
    }
    return work(long_rows<T>(a));
}

template <class T>
double softmax_long_rows(const softmax_args& a, index begin, index end) {
    const double total = with_elements<T>(a, [&](const auto& in) { return whole_rows(in, begin, end); });
    if (a.streaming) stream_fence();
    return total;
}

// The same in three steps, where rows are few or parts of longer ones: reduce and write by chunks, normalise by rows.
template <class T>
void softmax_reduce(const softmax_args& a, softmax_rows rows, index begin, index end) {
    const index chunks = softmax_chunks(a.classes);
    with_elements<T>(a, [&](const auto& in) {
        row_ahead<T> none;
        for (index i = begin; i < end; ++i) {
            const index row = rows.first + i / chunks;
            passes_of(in).reduce(in, row, i % chunks, row_scratch<T>(a, row % rows.slots), none);
        }
    });
}
template <class T>
double softmax_normalise(const softmax_args& a, index begin, index end) {
    return with_elements<T>(a, [&](const auto& in) {
        double total = 0;
        for (index row = begin; row < end; ++row)
            total += row_normaliser(in)(row, 1, [&](index at) { return row_scratch<T>(a, at); });
        return total;
    });
}

template <class T>
void softmax_write(const softmax_args& a, softmax_rows rows, index begin, index end) {
    const index chunks = softmax_chunks(a.classes);
    with_elements<T>(a, [&]<class E>(const long_rows<E>& in) {
        const auto write = a.recompute ? write_row<E, row_kind::other> : passes_of(in).write;
        for (index i = begin; i < end; ++i) {
            const index row = rows.first + i / chunks;
            write(in, row, i % chunks, row_scratch<T>(a, row % rows.slots));
        }
    });
    if (a.streaming) stream_fence();
}

}  // namespace
}  // namespace lossk
