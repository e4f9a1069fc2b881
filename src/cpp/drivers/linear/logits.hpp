// First pass: logits of a window, block by block, and what each block adds to the sums of rows.
//
// Lanes are rows, so nothing is added up across a register. A row's label counts as -infinity among the others, so that
// the digits of a probability near 1 are not lost; its own logit is kept apart.
#pragma once

#include "../softmax/problem.hpp"
#include "panels.hpp"

namespace lossk {
namespace {

// Numbers of a row in a block.
enum block_number : int { largest_logit, exponentials, linear_sum, top_logit };
static_assert(top_logit < linear_block_numbers);
// Numbers of a row: sums over windows, then what the gradient wants.
enum row_number : int {
    row_maximum,
    row_others,
    row_linear,
    row_own,       // the label's logit, capped
    row_top,       // the largest logit before capping
    row_own_top,   // the label's
    row_is_first,  // is no class before the label's as large?
    row_coefficient,
    row_share,  // of linear weights in the gradient
    row_at_label,
    row_lse,
};
static_assert(row_lse < linear_row_numbers);

template <class U>
struct logit_block {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using V = typename chunk::V;
    using O = typename chunk::O;
    static constexpr int R = chunk::R, at_once = 16;  // operands
    static constexpr index L = chunk::L, lanes = chunk::lanes, depth = chunk::depth, widest = chunk::deepest;
    static constexpr int staged_row = widest / depth + 16;  // no power of two: rows do not share lines of a cache
    static constexpr index staged_plane = U::rows * staged_row;
    static_assert(U::terms * staged_plane * index{sizeof(O)} <= linear_scratch(chunk::unit));

    const chunk& in;
    const index block, n;

    // Rows of w, zero where there is none, as the tile wants them.
    void stage(index first, index k, index wide, O* to) const {
        const linear_args& a = in.a;
        T numbers[widest];
        for (int i = 0; i < U::rows; ++i) {
            O* const row = to + i * staged_row;
            if (first + i >= n) {
                for (index t = 0; t < U::terms; ++t)
                    __builtin_memset(row + t * staged_plane, 0, staged_row * sizeof(O));
                continue;
            }
            const index element = (a.begin + block * linear_block + first + i) * a.features + k;
            if constexpr (depth == 1) {
                read_numbers(a.kind, a.w, element, wide, row);
            } else if (U::terms == 1 && a.kind == storage::bf16) {
                row[wide / 2] = 0;
                __builtin_memcpy(row, static_cast<const bf16*>(a.w) + element, static_cast<std::size_t>(wide) * 2);
            } else {
                read_numbers(a.kind, a.w, element, wide, numbers);
                operands_along<U>(numbers, wide, row, staged_plane);
            }
        }
    }

    void multiply() const {
        O* const staged = reinterpret_cast<O*>(in.a.scratch);
        index k = 0;
        do {  // without features, too: their logits are 0
            const index wide = smaller(widest, in.a.features - k), operands = in.operands(wide);
            for (index first = 0; first < n; first += U::rows) {
                stage(first, k, wide, staged);
                for (index panel = 0; panel < in.panels(); ++panel)
                    multiply_tile<U, staged_row, 1, at_once>(
                        {staged, 0, in.x_panel(panel, k), 1, operands, staged_plane, in.x_panels_plane()},
                        in.z(panel, block) + first * lanes, lanes, k > 0);
            }
        } while ((k += widest) < in.a.features);
    }

    // Whether no class of the block before c has as large a logit as c, in lane `lane` of z.
    static bool is_first(const T* z, index c, index lane) {
        for (index i = 0; i < c; ++i)
            if (z[i * lanes + lane] >= z[c * lanes + lane]) return false;
        return true;
    }

    // Bias, cap, and the largest logits of a panel's rows.
    void complete_logits(index panel) const {
        const linear_args& a = in.a;
        T* const z = in.z(panel, block);
        const T* const bias = a.bias ? static_cast<const T*>(a.bias) + a.begin + block * linear_block : nullptr;
        const bool capped = a.softcap > 0, ranks = a.correct && a.sums;
        const soft_cap<V> cap{static_cast<T>(a.softcap)};
        V largest[R], top[R];
        for (int r = 0; r < R; ++r) largest[r] = splat<V>(lowest<T>), top[r] = splat<V>(-T(__builtin_inf()));
        if (bias)
            for (index c = 0; c < n; ++c)
                for (int r = 0; r < R; ++r) store(z + c * lanes + r * L, load<V>(z + c * lanes + r * L) + bias[c]);
        if (ranks)
            in.each_label(panel, block, [&](index row, index c) {
                in.row_numbers(row_own_top)[row] = static_cast<double>(z[c * lanes + row % lanes]);
                in.row_numbers(row_is_first)[row] = is_first(z, c, row % lanes);
            });
        for (index c = 0; c < n; ++c)
            for (int r = 0; r < R; ++r) {
                T* const at = z + c * lanes + r * L;
                V y = load<V>(at);
                if (ranks) top[r] = max(top[r], y);
                if (capped) store(at, y = cap(y));
                largest[r] = max(largest[r], y);
            }
        if (!a.sums) return;
        for (int r = 0; r < R; ++r) {
            store(in.block_numbers(block, largest_logit) + panel * lanes + r * L, largest[r]);
            store(in.block_numbers(block, top_logit) + panel * lanes + r * L, top[r]);
        }
    }

    // Sums of a panel's rows.
    void add_up(index panel) const {
        const linear_args& a = in.a;
        T* const z = in.z(panel, block);
        const index row = panel * lanes;
        V reference[R];
        for (int r = 0; r < R; ++r) reference[r] = load<V>(in.block_numbers(block, largest_logit) + row + r * L);
        if (a.label_smoothing > 0) {
            V linear[R]{};
            for (index c = 0; c < n; ++c) {
                const V weight = splat<V>(in.weight_of_class(a.begin + block * linear_block + c));
                for (int r = 0; r < R; ++r)
                    linear[r] += linear_term(weight, load<V>(z + c * lanes + r * L) - reference[r]);
            }
            for (int r = 0; r < R; ++r) store(in.block_numbers(block, linear_sum) + row + r * L, linear[r]);
        }
        in.each_label(panel, block, [&](index at, index c) {
            in.row_numbers(row_own)[at] = static_cast<double>(z[c * lanes + at % lanes]);
            z[c * lanes + at % lanes] = -T(__builtin_inf());
        });
        constexpr index chains = 4;
        V sum[chains][R]{};
        const bool keeps = a.dx && in.finds_exponentials(block);
        const auto add = [&](auto k, index c) {
            for (int r = 0; r < R; ++r) {
                T* const y = z + c * lanes + r * L;
                const V e = exp_quick(load<V>(y) - reference[r]);
                sum[k][r] += e;
                if (keeps) store(y, e);
            }
        };
        index c = 0;
        for (; c + chains <= n; c += chains) unrolled<chains>([&](auto k) { add(k, c + k); });
        for (; c < n; ++c) add(constant<0>{}, c);
        for (int r = 0; r < R; ++r)
            store(in.block_numbers(block, exponentials) + row + r * L,
                  (sum[0][r] + sum[1][r]) + (sum[2][r] + sum[3][r]));
    }

    void hide_labels(index panel) const {
        T* const z = in.z(panel, block);
        in.each_label(panel, block, [&](index row, index c) { z[c * lanes + row % lanes] = -T(__builtin_inf()); });
    }

    // Exponentials and what they begin at, to where the block is kept, and back.
    static constexpr bool may_be_kept = sizeof(T) == sizeof(float) && U::terms == 1;
    ue6m10* kept_exponentials(char* memory, index panel) const {
        return reinterpret_cast<ue6m10*>(memory + in.l.rows * index{sizeof(T)}) + panel * linear_block * lanes;
    }
    void keep(char* memory) const {
        __builtin_memcpy(memory, in.block_numbers(block, largest_logit),
                         static_cast<std::size_t>(in.l.rows) * sizeof(T));
        for (index panel = 0; panel < in.panels(); ++panel)
            narrow_tile(in.z(panel, block), n * lanes, kept_exponentials(memory, panel));
    }
    void restore(char* memory) const {
        __builtin_memcpy(in.block_numbers(block, largest_logit), memory,
                         static_cast<std::size_t>(in.l.rows) * sizeof(T));
        for (index panel = 0; panel < in.panels(); ++panel)
            widen_tile(kept_exponentials(memory, panel), n * lanes, in.z(panel, block));
    }
};

template <class U>
void logits(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
    [[maybe_unused]] const typename U::session open{logit_block<U>::at_once};
    for (index b = begin; b < end; ++b) {
        const logit_block<U> block{in, b, in.classes(b)};
        if constexpr (block.may_be_kept)
            if (!args.sums && in.kept(b)) {
                block.restore(in.kept(b));
                continue;
            }
        block.multiply();
        for (index panel = 0; panel < in.panels(); ++panel) {
            block.complete_logits(panel);
            args.sums ? block.add_up(panel) : block.hide_labels(panel);
        }
        if constexpr (block.may_be_kept)
            if (in.kept(b)) block.keep(in.kept(b));
    }
}

}  // namespace
}  // namespace lossk
