// Softmax rows of many classes: a lane holds an element of a row, and a row is read from memory once.
//
// reduce leaves sums of a row's chunks (softmax_reduce.hpp); finish makes the row's loss and coefficients of them, in
// f64 (softmax_finish.hpp); write makes the result (softmax_write.hpp), while a later row is being reduced.
#pragma once

#include "softmax_finish.hpp"
#include "softmax_reduce.hpp"
#include "softmax_write.hpp"

namespace lossk {
namespace {

template <class E, row_kind kind>
struct softmax_many {
    using T = arithmetic<E>;
    using scratch = row_scratch<T>;
    const many_classes<E> in;
    const index chunks = scratch::chunks(in.a.classes);

    explicit softmax_many(const softmax_args& a) : in(a) {}

    template <class F>
    void each_block(index chunk, F&& work) const {
        const index begin = chunk * row_chunk, end = smaller(begin + row_chunk, in.a.classes);
        for (index first = begin; first < end; first += row_block) work(first, smaller(row_block, end - first));
    }
    // Functions of their own, as each is called from several places.
    [[gnu::noinline]] void reduce(index row, index chunk, const scratch& s) const {
        if (in.skips(row)) return;
        chunk_reduction<E, kind> reduction(in, row, chunk, s);
        each_block(chunk, [&](index first, index n) { reduction.block(first, n, idle{}); });
        s.chunk[chunk] = reduction.result();
    }
    [[gnu::noinline]] void write(index row, index chunk, const scratch& s) const {
        result_writer<E, kind> writer(in, row, chunk, s);
        each_block(chunk, [&](index first, index n) { writer.block(first, n); });
    }
    // Memory is busy with the writes while the cores are with the exponentials.
    [[gnu::noinline]] void reduce_and_write(index row, const scratch& s, index done, const scratch& of_done,
                                            index chunk) const {
        if (in.skips(row)) return write(done, chunk, of_done);
        chunk_reduction<E, kind> reduction(in, row, chunk, s);
        result_writer<E, kind> writer(in, done, chunk, of_done);
        each_block(chunk, [&](index first, index n) {
            writer.block(first, n, [&](auto meanwhile) { reduction.block(first, n, meanwhile); });
        });
        s.chunk[chunk] = reduction.result();
    }

    // Rows [begin, end), as many at once as half the slots hold. Returns the sum of their losses.
    double run(index begin, index end) const {
        const index slots = softmax_slots(in.a.classes), at_once = slots / 2;
        const row_slots<T> slot{in.a, begin, slots};
        const auto each_chunk = [&](auto&& work) {
            for (index chunk = 0; chunk < chunks; ++chunk) work(chunk);
        };
        row_finish<E> finish(in);
        double total = 0;
        index written = in.a.g ? begin : end;
        for (index row = begin; row < end; row += at_once) {
            const index n = smaller(at_once, end - row);
            for (index j = row; j < row + n; ++j) {
                const index done = j - at_once;
                if (done < written) {
                    each_chunk([&](index chunk) { reduce(j, chunk, slot(j)); });
                } else {
                    each_chunk([&](index chunk) { reduce_and_write(j, slot(j), done, slot(done), chunk); });
                    written = done + 1;
                }
            }
            total += finish(row, n, slot);
        }
        for (; written < end; ++written) each_chunk([&](index chunk) { write(written, chunk, slot(written)); });
        return total;
    }
};

// Calls work(driver) with the driver that was compiled for the problem.
template <class E, class F>
inline auto with_kind(const softmax_args& a, F&& work) {
    switch (many_classes<E>(a).kind()) {
        case row_kind::labels: return work(softmax_many<E, row_kind::labels>(a));
        case row_kind::smoothed: return work(softmax_many<E, row_kind::smoothed>(a));
        case row_kind::targets: return work(softmax_many<E, row_kind::targets>(a));
        case row_kind::capped: return work(softmax_many<E, row_kind::capped>(a));
        case row_kind::softmax: return work(softmax_many<E, row_kind::softmax>(a));
        case row_kind::log_softmax: return work(softmax_many<E, row_kind::log_softmax>(a));
        case row_kind::other: break;
    }
    return work(softmax_many<E, row_kind::other>(a));
}

// The same for the elements that memory holds.
template <class T, class F>
inline auto with_driver(const softmax_args& a, F&& work) {
    if constexpr (sizeof(T) == sizeof(float)) {
        if (a.kind == storage::bf16) return with_kind<bf16>(a, work);
        if (a.kind == storage::f16) return with_kind<f16>(a, work);
    }
    return with_kind<T>(a, work);
}

template <class T>
double softmax_whole(const softmax_args& a, index begin, index end) {
    const double total = with_driver<T>(a, [&](const auto& driver) { return driver.run(begin, end); });
    if (a.streaming) stream_fence();
    return total;
}

// The same in three steps for few rows: reduce and write by chunks (item = row * chunks + chunk), finish by rows.
template <class T>
void softmax_reduce(const softmax_args& a, index begin, index end) {
    with_driver<T>(a, [&](const auto& driver) {
        for (index i = begin; i < end; ++i)
            driver.reduce(i / driver.chunks, i % driver.chunks, row_scratch<T>(a, i / driver.chunks));
    });
}
template <class T>
double softmax_finish(const softmax_args& a, index begin, index end) {
    return with_driver<T>(a, [&](const auto& driver) {
        double total = 0;
        for (index row = begin; row < end; ++row) total += row_finish(driver.in)(row, 1, {a, 0, a.rows});
        return total;
    });
}
template <class T>
void softmax_write(const softmax_args& a, index begin, index end) {
    with_driver<T>(a, [&](const auto& driver) {
        for (index i = begin; i < end; ++i)
            driver.write(i / driver.chunks, i % driver.chunks, row_scratch<T>(a, i / driver.chunks));
    });
    if (a.streaming) stream_fence();
}

}  // namespace
}  // namespace lossk
