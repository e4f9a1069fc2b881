// Second pass: dx, from the dz of a window, once all of its blocks are made.
#pragma once

#include "../../simd/transpose.hpp"
#include "gradients.hpp"

namespace lossk {
namespace {

// dx += dz w of the window, for tiles of features.
template <class U>
struct dx_sums {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using V = typename chunk::V;
    using O = typename chunk::O;
    static constexpr index lanes = chunk::lanes, depth = chunk::depth;
    static constexpr index most = linear_block / 2 / U::rows;  // tiles at once: 127 KB in f32
    static constexpr int step = U::filtered / depth;           // operands of a step
    // Registers want a step's operands by classes, [class][feature]; tiles by features, each in a line of its own.
    static constexpr int feature_stride = U::in_registers ? 1 : line_bytes / sizeof(O);
    static constexpr int class_stride = U::in_registers ? U::rows : 1;
    static constexpr index step_operands = U::rows * (U::in_registers ? step : feature_stride);
    static constexpr index steps_of_block = linear_block / U::filtered;
    static constexpr index plane = most * steps_of_block * step_operands;
    static constexpr index rows_plane = U::in_registers ? 0 : feature_stride * most * U::rows;  // to be transposed

    static_assert(U::terms * (plane + rows_plane) * index{sizeof(O)} <= linear_scratch(chunk::unit));

    const chunk& in;
    O* const packed = reinterpret_cast<O*>(in.a.scratch);  // [term][tile][step]

    O* packed_tile(index t) const { return packed + t * steps_of_block * step_operands; }

    index blocks() const { return (in.window() + linear_block - 1) / linear_block; }
    index wide(index tile, index tiles) const { return smaller(tiles * U::rows, in.a.features - tile * U::rows); }

    // The k-th row of operands, to each tile its own.
    void give_tiles(const O* from, index k, index tiles, index term = 0) const {
        if constexpr (U::in_registers) {
            for (index t = 0; t < tiles; ++t)
                __builtin_memcpy(packed_tile(t) + k * U::rows, from + t * U::rows, U::rows * sizeof(O));
        } else {
            O* const rows = packed + U::terms * plane + term * rows_plane;
            __builtin_memcpy(rows + k % step * most * U::rows, from,
                             static_cast<std::size_t>(tiles * U::rows) * sizeof(O));
            if (k % step == step - 1) transpose_step(rows, k / step, tiles, term * plane);
        }
    }
    // Rows of a step, to lines of features; what a line has past the step is not read.
    void transpose_step(const O* rows, index at_step, index tiles, index at_plane) const {
        constexpr index n = columns<V>, L = chunk::L;
        static_assert(U::rows % n == 0 && feature_stride % L == 0);
        for (index f = 0; f < tiles * U::rows; f += n) {
            O* const to = packed_tile(f / U::rows) + at_plane + at_step * step_operands + f % U::rows * feature_stride;
            for (index k = 0; k < feature_stride; k += L) {
                V r[n];
                load_columns<V>(reinterpret_cast<const float*>(rows + k * most * U::rows) + f, most * U::rows, r);
                for (index i = 0; i < n; ++i) store(reinterpret_cast<float*>(to + i * feature_stride + k), r[i]);
            }
        }
    }

    // Classes of a block of w, as the tiles want them.
    void pack(const gradient_block<U>& block, index tile, index tiles) const {
        const linear_args& a = in.a;
        const index n = wide(tile, tiles);
        T numbers[depth][most * U::rows]{};
        O operands[U::terms][most * U::rows];
        const bool direct = depth == 1 && a.kind == storage::same && n == tiles * U::rows;
        const auto* const w = static_cast<const T*>(a.w) + (a.begin + block.block * linear_block) * a.features;
        for (index c = 0; c < block.padded; c += depth) {
            if constexpr (depth == 1) {
                if (direct && c < block.n) {
                    give_tiles(w + c * a.features + tile * U::rows, c, tiles);
                    continue;
                }
            } else if (U::terms == 1 && a.kind == storage::bf16 && n == tiles * U::rows && c + 1 < block.n) {
                const auto* const row = static_cast<const bf16*>(a.w) +
                                        (a.begin + block.block * linear_block + c) * a.features + tile * U::rows;
                each_register<V>(n, [&](index i, auto reach) {
                    const V low = reach.load(row + i), high = reach.load(row + a.features + i);
                    reach.store(reinterpret_cast<float*>(operands[0]) + i, (V)(((words32)low >> 16) | (words32)high));
                });
                give_tiles(operands[0], c / depth, tiles);
                continue;
            }
            for (index j = 0; j < depth; ++j) {
                const index row = a.begin + block.block * linear_block + c + j;
                if (c + j < block.n)
                    read_numbers(a.kind, a.w, row * a.features + tile * U::rows, n, numbers[j]);
                else
                    __builtin_memset(numbers[j], 0, sizeof numbers[j]);
            }
            if constexpr (depth == 1) {
                give_tiles(numbers[0], c, tiles);
            } else {
                operands_across<U>(numbers[0], numbers[1], tiles * U::rows, operands[0], most * U::rows);
                for (index t = 0; t < U::terms; ++t) give_tiles(operands[t], c / depth, tiles, t);
            }
        }
    }

    // The product of a tile of features with every panel.
    void multiply(const gradient_block<U>& block, index tile, index t) const {
        const linear_args& a = in.a;
        const index steps = block.padded / U::filtered;
        for (index panel = 0; panel < in.panels(); ++panel) {
            tile_operands<U> of{packed_tile(t), step_operands,   block.pairs_of_classes(panel), steps, step,
                                plane,          block.dz_plane()};
            if (U::in_registers && !(a.filter_eps > 0)) of.steps = 1, of.inner = steps * step;
            if (a.filter_eps > 0) {
                of.counts = in.flags(block.block) + panel * lanes / linear_rows;
                of.counts_stride = in.groups();
            }
            T* const to = in.dx(panel) + (tile + t) * U::rows * lanes;
            multiply_tile<U, feature_stride, class_stride, step>(of, to, lanes, a.begin + block.block > 0);
        }
    }
};

template <class U>
void add_dx(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
    [[maybe_unused]] const typename U::session open{dx_sums<U>::step};
    const dx_sums<U> sums{in};
    for (index b = 0; b < sums.blocks(); ++b) {
        const gradient_block<U> block{in, b, in.classes(b)};
        for (index tile = begin; tile < end; tile += sums.most) {
            const index tiles = smaller(sums.most, end - tile);
            sums.pack(block, tile, tiles);
            for (index t = 0; t < tiles; ++t) sums.multiply(block, tile, t);
        }
    }
}

// All passes by a unit.
template <class U>
constexpr linear_kernels linear_kernels_of(const char* name, bool (*is_right)() = nullptr) {
    return {name,         linear_chunk<U>::unit,
            pack_rows<U>, logits<U>,
            merge<U>,     normalise_rows<U>,
            dz_and_dw<U>, add_dx<U>,
            give_dx<U>,   is_right};
}

}  // namespace
}  // namespace lossk
