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
    static constexpr index L = chunk::L, lanes = chunk::lanes, depth = chunk::depth, widest = chunk::widest;
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
            const index wide = smaller(widest, in.a.features - k), operands = (wide + depth - 1) / depth;
            for (index first = 0; first < n; first += U::rows) {
                stage(first, k, wide, staged);
                for (index panel = 0; panel < in.panels(); ++panel)
                    multiply_tile<U, staged_row, 1, at_once>({staged, 0, in.x_panel(panel) + k / depth * lanes, 1,
                                                              operands, staged_plane, in.x_panels_plane()},
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
        const bool keeps = a.dx && in.keeps_exponentials();
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
};

template <class U>
void logits(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
    [[maybe_unused]] const typename U::session open{logit_block<U>::at_once};
    for (index b = begin; b < end; ++b) {
        const logit_block<U> block{in, b, in.classes(b)};
        block.multiply();
        for (index panel = 0; panel < in.panels(); ++panel) {
            block.complete_logits(panel);
            args.sums ? block.add_up(panel) : block.hide_labels(panel);
        }
    }
}

// The linear terms of the window's blocks, for rows [begin, end).
template <class U>
void merge_linear(const linear_chunk<U>& in, index begin, index end) {
    using T = typename U::sum;
    double* const linear = in.row_numbers(row_linear);
    if (in.a.begin == 0)
        for (index row = begin; row < end; ++row) linear[row] = 0;
    for (index b = 0; b * linear_block < in.window(); ++b) {
        double mass = 0;
        for (index c = 0; c < in.classes(b); ++c)
            mass += static_cast<double>(in.weight_of_class(in.a.begin + b * linear_block + c));
        const T *const sums = in.block_numbers(b, linear_sum), *const reference = in.block_numbers(b, largest_logit);
        for (index row = begin; row < end; ++row)
            linear[row] += static_cast<double>(sums[row]) + static_cast<double>(reference[row]) * mass;
    }
}

// Adds the window's blocks to the sums of rows, in their order, by groups of rows.
template <class U>
void merge(const linear_args& args, index begin, index end) {
    using W = vec<double>;
    using T = typename U::sum;
    const linear_chunk<U> in(args);
    const index blocks = (in.window() + linear_block - 1) / linear_block;
    if (args.label_smoothing > 0) merge_linear(in, begin * linear_rows, end * linear_rows);
    for (index row = begin * linear_rows; row < end * linear_rows; row += lanes<W>) {
        const auto numbers = [&](index block, int which) {
            const T* const from = in.block_numbers(block, which) + row;
            W w;
            for (int i = 0; i < lanes<W>; ++i) w[i] = static_cast<double>(from[i]);
            return w;
        };
        W before = load<W>(in.row_numbers(row_maximum) + row), others = load<W>(in.row_numbers(row_others) + row);
        W top = load<W>(in.row_numbers(row_top) + row);
        if (args.begin == 0) before = splat<W>(lowest<double>), top = splat<W>(-__builtin_inf()), others = W{};
        W maximum = before;
        for (index b = 0; b < blocks; ++b) maximum = max(maximum, numbers(b, largest_logit));
        others *= exp(before - maximum);
        for (index b = 0; b < blocks; ++b) {
            const W reference = numbers(b, largest_logit);
            others += numbers(b, exponentials) * exp(reference - maximum);
            if (!args.correct) continue;
            // The label's block is where its logit was found; in those before it none may be as large.
            const W here = numbers(b, top_logit);
            const index first = args.begin + b * linear_block;
            for (int i = 0; i < lanes<W>; ++i) {
                if (row + i >= args.rows) continue;
                const index t = args.label[row + i];
                if (t >= first + in.classes(b)) top[i] = here[i] > top[i] ? here[i] : top[i];
                if (t < first && here[i] > in.row_numbers(row_own_top)[row + i])
                    in.row_numbers(row_is_first)[row + i] = 0;
                if (t >= first && t < first + in.classes(b)) {
                    double& own_first = in.row_numbers(row_is_first)[row + i];
                    const double own = in.row_numbers(row_own_top)[row + i];
                    if ((first > 0 && top[i] >= own) || here[i] > own) own_first = 0;
                }
            }
        }
        store(in.row_numbers(row_maximum) + row, maximum);
        store(in.row_numbers(row_others) + row, others);
        store(in.row_numbers(row_top) + row, top);
    }
}

// Losses and statistics of all rows, and what the gradient wants of them; returns the sum of the losses.
template <class U>
double normalise_rows(const linear_args& args) {
    using W = vec<double>;
    using T = typename U::sum;
    const linear_chunk<U> in(args);
    const cross_entropy<W> formula{true, args};
    const soft_cap<W> cap{args.softcap};
    const double mass = in.even_share() * args.class_weight_sum;
    double total = 0;
    for (index row = 0; row < args.rows; row += lanes<W>) {
        const index here = smaller(lanes<W>, args.rows - row);
        W weight{}, of_class{}, q_t{};
        for (int i = 0; i < here; ++i) {
            const auto w = static_cast<double>(in.weight_of_class(args.label[row + i]));
            weight[i] = static_cast<double>(in.weight_of_row(row + i));
            of_class[i] = w * in.keep_share();
            q_t[i] = w * in.even_share();
        }
        const W others_maximum = load<W>(in.row_numbers(row_maximum) + row),
                own = load<W>(in.row_numbers(row_own) + row);
        const W maximum = max(others_maximum, own);
        const W others = load<W>(in.row_numbers(row_others) + row) * exp(others_maximum - maximum);
        const W linear = args.label_smoothing > 0
                             ? load<W>(in.row_numbers(row_linear) + row) * in.even_share() - maximum * mass
                             : W{};
        const W of_weights = splat<W>(args.label_smoothing > 0 ? mass : 0.0);
        const row_sums<W> sums{maximum, others, own - maximum, linear, of_weights};
        const row_result<W> result = formula(sums, of_class, q_t);
        const W factor = weight * args.scale;
        W at_label = result.grad_t * factor;
        if (args.softcap > 0) at_label *= cap.slope(own);
        store(in.row_numbers(row_maximum) + row, maximum);
        store(in.row_numbers(row_coefficient) + row, result.inverse * result.slope * factor);
        store(in.row_numbers(row_share) + row, factor * in.even_share());
        store(in.row_numbers(row_at_label) + row, at_label);
        for (int i = 0; i < here; ++i) {
            const index r = row + i;
            const double loss = result.loss[i] * weight[i];
            total += loss;
            if (args.each) static_cast<T*>(args.each)[r] = static_cast<T>(loss);
            if (args.lse) static_cast<T*>(args.lse)[r] = static_cast<T>(result.lse[i]);
            if (args.correct) args.correct[r] = result.lse[i] == result.lse[i] && in.row_numbers(row_is_first)[r] != 0;
        }
    }
    return total;
}

}  // namespace
}  // namespace lossk
