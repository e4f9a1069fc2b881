// A 28 x 32 tile of f32 sums, and its product with pairs of bf16: AMX's tile registers, or with LOSSK_TILE_MODEL a
// model of them in plain C++, after Intel's manual, for tests on CPUs without. A test compares the bits of both where
// it can.
//
// Eight registers hold it: sums in four of 16 and 12 rows by 16, `a` in two of 16 and 12 rows, `b` in two. Rows of 28
// make 252 classes, which is what a block has, by nine.
#pragma once

#include "../base/types.hpp"

#if !defined(LOSSK_TILE_MODEL)
#include <immintrin.h>
#endif

namespace lossk {
namespace {
namespace tiles {

constexpr int rows = 28, lower_rows = 16, upper_rows = rows - lower_rows, columns = 32;
constexpr int most_pairs = 16;  // of a product: those that a row of a register holds

#if defined(LOSSK_TILE_MODEL)

struct registers {
    float sum[rows][columns];
    index pairs;
};
inline thread_local registers model;

// Registers for products of so many pairs, as long as it lives.
struct session {
    explicit session(index pairs) { model.pairs = pairs; }
};

inline void clear() { model = {{}, model.pairs}; }
inline void load(const float* c, index stride) {
    for (int i = 0; i < rows; ++i) __builtin_memcpy(model.sum[i], c + i * stride, sizeof model.sum[i]);
}
inline void store(float* c, index stride) {
    for (int i = 0; i < rows; ++i) __builtin_memcpy(c + i * stride, model.sum[i], sizeof model.sum[i]);
}

inline float flushed(float x) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7f800000u) == 0) bits &= 0x80000000u;
    __builtin_memcpy(&x, &bits, sizeof bits);
    return x;
}
// Of a pair, the half that comes first or second in k.
inline float half(std::uint32_t pair, int which) {
    const std::uint32_t bits = which ? pair & 0xffff0000u : pair << 16;
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return flushed(x);
}

// TDPBF16PS as Intel's manual has it: products of first and of second halves are added up apart, by fused
// multiply-adds, denormals taken and given as 0, and their sum is added to what is there.
inline void multiply_add(const std::uint32_t* a, index a_row, const std::uint32_t* b) {
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < columns; ++j) {
            float part[2] = {0, 0};
            for (index k = 0; k < model.pairs; ++k)
                for (int h = 0; h < 2; ++h)
                    part[h] = flushed(__builtin_fmaf(half(a[i * a_row + k], h), half(b[k * columns + j], h), part[h]));
            model.sum[i][j] = flushed(flushed(model.sum[i][j]) + flushed(part[0] + part[1]));
        }
}

inline void written() {}

#else

// What was stored is in memory: GCC does not know that loads of tiles read it.
inline void written() { __asm__ volatile("" ::: "memory"); }

struct session {
    explicit session(index pairs) {
        struct alignas(64) {
            std::uint8_t palette = 1, start_row = 0, reserved[14]{};
            std::uint16_t row_bytes[16]{};
            std::uint8_t rows[16]{};
        } config;
        const auto depth = static_cast<std::uint8_t>(pairs);
        const std::uint8_t height[8] = {lower_rows, lower_rows, upper_rows, upper_rows,
                                        lower_rows, upper_rows, depth,      depth};
        for (int i = 0; i < 8; ++i) {
            config.rows[i] = height[i];
            config.row_bytes[i] = static_cast<std::uint16_t>(i == 4 || i == 5 ? 4 * depth : 64);
        }
        written();
        _tile_loadconfig(&config);
    }
    ~session() { _tile_release(); }
    session(const session&) = delete;
};

inline void clear() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}
inline void load(const float* c, index stride) {
    _tile_loadd(0, c, 4 * stride);
    _tile_loadd(1, c + 16, 4 * stride);
    _tile_loadd(2, c + lower_rows * stride, 4 * stride);
    _tile_loadd(3, c + lower_rows * stride + 16, 4 * stride);
}
inline void store(float* c, index stride) {
    _tile_stored(0, c, 4 * stride);
    _tile_stored(1, c + 16, 4 * stride);
    _tile_stored(2, c + lower_rows * stride, 4 * stride);
    _tile_stored(3, c + lower_rows * stride + 16, 4 * stride);
}

// Adds the product of 28 rows of pairs, a_row apart, with as many rows of 32 pairs.
inline void multiply_add(const std::uint32_t* a, index a_row, const std::uint32_t* b) {
    _tile_loadd(4, a, 4 * a_row);
    _tile_loadd(6, b, 4 * columns);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + 16, 4 * columns);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + lower_rows * a_row, 4 * a_row);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

#endif

}  // namespace tiles
}  // namespace
}  // namespace lossk
