// First pass: sums of blocks, merged to sums of rows; the losses of rows, and what the gradient wants of them.
#pragma once

#include "logits.hpp"

namespace lossk {
namespace {

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
