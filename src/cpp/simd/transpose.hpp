// Columns of a matrix in registers: lane j of register k holds row j's number in column k. A register is filled by
// 128-bit parts, one a row, so that what is left to do stays within such parts, where shuffles are cheap.
#pragma once

#include "unroll.hpp"
#include "vec.hpp"

namespace lossk {
namespace {

// Columns that are moved at once: the numbers of a part.
template <class V>
constexpr int columns = 16 / static_cast<int>(sizeof(lane_t<V>));

// In each part, the numbers of a and b in turn: those of the lower halves (first = 0) or of the upper ones.
template <int first, class V, int... lane>
inline V interleave(V a, V b, sequence<lane...>) {
    constexpr int n = columns<V>;
    return shuffle<(lane / n * n + first + lane % n / 2 + (lane % 2) * lanes<V>)...>(a, b);
}

// Transposes the parts: number i of register k becomes number k of register i.
template <class V>
inline void transpose_parts(V (&r)[columns<V>]) {
    constexpr int n = columns<V>;
    using all = sequence_to<lanes<V>>;
    for (int done = 1; done < n; done *= 2) {
        V from[n];
        for (int i = 0; i < n; ++i) from[i] = r[i];
        for (int i = 0; i < n / 2; ++i) {
            r[2 * i] = interleave<0>(from[i], from[i + n / 2], all{});
            r[2 * i + 1] = interleave<n / 2>(from[i], from[i + n / 2], all{});
        }
    }
}

typedef float register_part __attribute__((vector_size(16)));
constexpr int register_parts = register_bytes / 16;

// A register of its parts. (GCC 12 spells four as shuffles across them, where insertions from memory are cheaper.)
template <class V>
inline V join(const register_part (&p)[register_parts]) {
#if defined(__AVX512F__)
    const auto pair = [&](int i) { return _mm256_insertf128_ps(_mm256_castps128_ps256(p[i]), p[i + 1], 1); };
    return (V)_mm512_insertf64x4(_mm512_castps_pd(_mm512_castps256_ps512(pair(0))), _mm256_castps_pd(pair(2)), 1);
#elif defined(__AVX2__)
    return (V)_mm256_insertf128_ps(_mm256_castps128_ps256(p[0]), p[1], 1);
#else
    return (V)p[0];
#endif
}

// Columns 0 .. columns<V> - 1 of as many rows as a register has lanes; a row begins `stride` after the one before.
template <class V>
inline void load_columns(const lane_t<V>* from, std::int64_t stride, V (&r)[columns<V>]) {
    constexpr int n = columns<V>;
    for (int i = 0; i < n; ++i) {
        register_part parts[register_parts];
        for (int p = 0; p < register_parts; ++p)
            __builtin_memcpy(&parts[p], from + (p * n + i) * stride, sizeof parts[p]);
        r[i] = join<V>(parts);
    }
    transpose_parts(r);
}

// The same back, row by row: where rows are shorter than a part, the next row overwrites what is too much.
template <class V>
inline void store_columns(lane_t<V>* to, std::int64_t stride, V (&r)[columns<V>]) {
    constexpr int n = columns<V>;
    transpose_parts(r);
    for (int p = 0; p < register_parts; ++p)
        for (int i = 0; i < n; ++i) {
            register_part parts[register_parts];
            __builtin_memcpy(parts, &r[i], sizeof parts);
            __builtin_memcpy(to + (p * n + i) * stride, &parts[p], sizeof parts[p]);
        }
}

}  // namespace
}  // namespace lossk
