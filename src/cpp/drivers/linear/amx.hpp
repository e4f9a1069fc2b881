// Products of pairs of bf16 by AMX's tile registers: a unit of tile.hpp, of 28 rows by 32 lanes.
//
// An f32 is the sum of two or three bf16, but for what the last one rounds off: two hold 16 of its 24 bits, three all.
// Of the products of terms those count that are not smaller than what is rounded off: three of two terms, six of three.
#pragma once

#include "../../simd/tiles.hpp"
#include "tile.hpp"

namespace lossk {
namespace {

template <int terms_of_number>
struct amx_unit {
    static constexpr index terms = terms_of_number;
    using sum = float;
    using operand = word32;
    using V = vec<float>;
    using session = tiles::session;
    static constexpr int depth = 2, rows = tiles::rows;
    static constexpr index lanes = tiles::columns, filtered = rows;
    static constexpr bool in_registers = false;
};

// Calls work(i, j) for the terms of a and of b whose product counts, the smallest first.
template <index terms, class F>
inline void each_pair_of_terms(F&& work) {
    for (index both = terms - 1; both >= 0; --both)
        for (index i = both; i >= 0; --i) work(i, both - i);
}

// The last operands of a product, filled up with zeros.
struct padded_operands {
    alignas(line_bytes) word32 a[tiles::rows][tiles::most_pairs], b[tiles::most_pairs][tiles::columns];

    void fill(const word32* from_a, index a_row, const word32* from_b, index n) {
        tiles::written();
        __builtin_memset(a, 0, sizeof a);
        __builtin_memset(b, 0, sizeof b);
        for (int i = 0; i < tiles::rows; ++i)
            __builtin_memcpy(a[i], from_a + i * a_row, static_cast<std::size_t>(n) * sizeof(word32));
        __builtin_memcpy(b, from_b, static_cast<std::size_t>(n) * sizeof b[0]);
        tiles::written();
    }
};

// The product of tile.hpp by as many pairs at once as the open session has; sums begin at c where it adds to c.
template <class U, int a_row, int a_inner, int pairs>
    requires(!U::in_registers)
[[gnu::noinline]] void multiply_tile(const tile_operands<U>& of, float* c, index c_stride, bool adds) {
    static_assert(a_inner == 1, "operands of a row follow each other");
    tiles::written();
    if (adds)
        tiles::load(c, c_stride);
    else
        tiles::clear();
    const word32* b = of.b;
    for (index step = 0; step < of.steps; ++step, b += of.inner * U::lanes) {
        if (of.counts && !of.counts[step / of.steps_per_count * of.counts_stride]) continue;
        const word32* const a = of.a + step * of.a_step;
        index k = 0;
        for (; k + pairs <= of.inner; k += pairs)
            each_pair_of_terms<U::terms>([&](index i, index j) {
                tiles::multiply_add(a + i * of.a_plane + k, a_row, b + j * of.b_plane + k * U::lanes);
            });
        if (k == of.inner) continue;
        padded_operands last;
        each_pair_of_terms<U::terms>([&](index i, index j) {
            last.fill(a + i * of.a_plane + k, a_row, b + j * of.b_plane + k * U::lanes, of.inner - k);
            tiles::multiply_add(last.a[0], tiles::most_pairs, last.b[0]);
        });
    }
    tiles::store(c, c_stride);
}

}  // namespace
}  // namespace lossk
