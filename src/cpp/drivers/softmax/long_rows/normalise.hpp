// Long softmax rows: the losses and coefficients of rows whose chunks have been reduced, a lane a row.
#pragma once

#include "row.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

template <class E>
class row_normaliser {
    using T = arithmetic<E>;
    using W = vec<double>;

    // What the formula wants of each row, and what it gives.
    struct column {
        alignas(line_bytes) double at[rows_at_once]{};
        W load(index i) const { return lossk::load<W>(at + i); }
        void store(index i, W v) { lossk::store(at + i, v); }
    };
    const long_rows<E>& in;
    column maximum, others, d_t, linear, mass, own, q_t;
    column loss, lse, inverse, slope, square, grad_t, hess_t, log_total;
    double logit[rows_at_once];
    index largest[rows_at_once];

    // The class of the first largest probability in a row's target; its probabilities hold no NaN.
    index likeliest(index row) const {
        alignas(line_bytes) T buffer[row_block];
        T largest_yet = lowest<T>;
        index at = 0;
        for (index first = 0; first < in.a.classes; first += row_block) {
            const index n = smaller(row_block, in.a.classes - first);
            const T* y = in.target_block(row, first, n, buffer);
            const T here = largest_lane(lane_maxima(y, n));
            if (here > largest_yet) largest_yet = here, at = first + first_equal(y, n, here);
        }
        return at;
    }

    // Adds up the chunks of a row, the j-th of those that are normalised together.
    void gather(index row, index j, const softmax_chunk* chunk) {
        const index chunks = in.a.row_chunks, t = in.label(row);
        double top = chunk[0].top, reference = chunk[0].reference;
        largest[j] = chunk[0].largest;
        logit[j] = chunk[0].logit_t;
        for (index c = 1; c < chunks; ++c) {
            if (chunk[c].reference > reference) reference = chunk[c].reference;
            if (chunk[c].top > top) top = chunk[c].top, largest[j] = chunk[c].largest;
            logit[j] += chunk[c].logit_t;
        }
        // References are near the largest logit. Where that may be the label's, its own is taken: p - 1 keeps its
        // digits.
        if (t >= 0 && logit[j] > reference - 1) reference = logit[j];
        maximum.at[j] = reference;
        others.at[j] = linear.at[j] = mass.at[j] = own.at[j] = q_t.at[j] = 0;
        for (index c = 0; c < chunks; ++c) {
            const double shift = chunk[c].reference - reference;
            others.at[j] += chunk[c].sum * exp_of(shift);
            linear.at[j] += chunk[c].mass != 0 ? chunk[c].linear + chunk[c].mass * shift : 0.0;
            mass.at[j] += chunk[c].mass;
        }
        if (in.a.output == row_output::softmax) mass.at[j] = 1;  // softmax is the gradient of lse
        d_t.at[j] = -__builtin_inf();
        if (t < 0) return;
        own.at[j] = static_cast<double>(in.label_weight(t));
        q_t.at[j] = static_cast<double>(in.linear_weight_of_label(t));
        d_t.at[j] = logit[j] - reference;
    }

    void apply(index i) {
        const cross_entropy<W> formula{in.a.label != nullptr, in.a};
        const row_sums<W> sums{maximum.load(i), others.load(i), d_t.load(i), linear.load(i), mass.load(i)};
        const row_result<W> r = formula(sums, own.load(i), q_t.load(i));
        loss.store(i, r.loss);
        lse.store(i, r.lse);
        log_total.store(i, r.log_total);
        inverse.store(i, r.inverse);
        slope.store(i, r.slope);
        square.store(i, r.square);
        grad_t.store(i, r.grad_t);
        hess_t.store(i, r.hess_t);
    }

    double scatter(index row, index j, row_state& state) const {
        const double weight = static_cast<double>(in.weight(row)), factor = weight * in.a.scale;
        state = {maximum.at[j], inverse.at[j],         slope.at[j],           square.at[j],   factor,
                 logit[j],      grad_t.at[j] * factor, hess_t.at[j] * factor, log_total.at[j]};
        if (in.lse) in.lse[row] = static_cast<T>(lse.at[j]);
        if (in.a.correct) {
            const bool known = lse.at[j] == lse.at[j] && (!in.a.target || mass.at[j] == mass.at[j]);
            in.a.correct[row] = known && largest[j] == (in.a.target ? likeliest(row) : in.label(row));
        }
        const double weighted = in.counts(row) ? loss.at[j] * weight : 0.0;
        if (in.each) in.each[row] = static_cast<T>(weighted);
        return weighted;
    }

    double skip(index row) const {
        if (in.each) in.each[row] = T(0);
        if (in.a.correct) in.a.correct[row] = 0;
        return 0;
    }

public:
    explicit row_normaliser(const long_rows<E>& problem) : in(problem) {}

    // The sum of the (weighted) losses of n rows, 0 where a row does not count.
    template <class Slots>
    [[gnu::noinline]] double operator()(index row, index n, const Slots& slot) {
        for (index j = 0; j < n; ++j)
            if (!in.skips(row + j)) gather(row + j, j, slot(row + j).chunk);
        for (index j = 0; j < n; j += lanes<W>) apply(j);
        double total = 0;
        for (index j = 0; j < n; ++j)
            total += in.skips(row + j) ? skip(row + j) : scatter(row + j, j, *slot(row + j).state);
        return total;
    }
};

}  // namespace
}  // namespace lossk
