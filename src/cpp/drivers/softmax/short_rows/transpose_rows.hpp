// Short softmax rows: how batches of rows get into tables of classes and back to memory.
#pragma once

#include "../../../simd/transpose.hpp"
#include "../problem.hpp"

namespace lossk {
namespace {

template <class T>
struct class_tables {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = 4;      // registers of rows in a batch
    static constexpr int B = K * L;  // rows in a batch
    static constexpr index buffer_size = short_row_classes * B;
    using table = T[short_row_classes + 1][B];  // classes x rows; the last is for rows without a label
    using stream = line_stream<T, buffer_size + L>;

    // Logits, later e_k and the gradient; the linear weights q_k; second derivatives.
    struct batch {
        alignas(line_bytes) table z, q, h;
        alignas(line_bytes) T rows_in[buffer_size + L],
            rows_out[buffer_size + L];  // row by row, on their way in or out
    };

    const softmax_args& a;
    const softmax_problem<T> in{a};
    const int classes = static_cast<int>(a.classes);

    explicit class_tables(const softmax_args& args) : a(args) {}

    // Calls work(k) for groups of columns<V> classes, k the first; the last group overlaps its neighbour.
    template <class F>
    void each_columns(F&& work) const {
        constexpr int n = columns<V>;
        for (int k = 0; k < classes; k += n) work(classes >= n ? (k + n <= classes ? k : classes - n) : 0);
    }

    // Rows in memory to a table of classes; zeros in the lanes past the last row.
    void gather(const void* array, index row, int rows, batch& b, table& to) const {
        const index n = rows * a.classes;
        const T* from = in.read(array, row * a.classes, n, b.rows_in);
        if (rows < B || classes < columns<V>) {  // loads would reach past the array
            if (from != b.rows_in) __builtin_memcpy(b.rows_in, from, static_cast<std::size_t>(n) * sizeof(T));
            for (index i = n; i < B * a.classes; ++i) b.rows_in[i] = T(0);
            from = b.rows_in;
        }
        each_columns([&](int k) {
            for (int j = 0; j < B; j += L) {
                V r[columns<V>];
                load_columns<V>(from + j * classes + k, classes, r);
                for (int i = 0; i < smaller(columns<V>, classes); ++i) store(to[k + i] + j, r[i]);
            }
        });
    }

    void scatter(const table& from, T* to) const {
        each_columns([&](int k) {
            for (int j = 0; j < B; j += L) {
                V r[columns<V>];
                for (int i = 0; i < columns<V>; ++i) r[i] = load<V>(from[k + i] + j);
                store_columns<V>(to + j * classes + k, classes, r);
            }
        });
    }
    // A table of classes back to rows in memory.
    void scatter_to(void* array, const table& from, index row, int rows, batch& b, stream& past) const {
        const index first = row * a.classes, n = rows * a.classes;
        T* const to = static_cast<T*>(array) + first;
        if (a.streaming) {
            scatter(from, past.here());
            return past.push(n);
        }
        const bool whole = rows == B && classes >= columns<V>;  // else stores would reach past the last row
        if (whole && !in.narrow) return scatter(from, to);
        scatter(from, b.rows_out);
        if (in.narrow)
            in.write_narrow(b.rows_out, n, array, first);
        else
            __builtin_memcpy(to, b.rows_out, static_cast<std::size_t>(n) * sizeof(T));
    }
};

}  // namespace
}  // namespace lossk
