// Softmax cross-entropy of one row, from the few numbers that a pass over its logits leaves.
//
// With p = softmax(z), t the label, e the label smoothing, w the class weights, a = (1 - e) w_t and the linear weights
// q_k = (e/C) w_k (for probability targets y: a = 0, q_k = w_k (y_k (1 - e) + e/C)):
//
//     loss = a (-log p_t) + sum_k q_k (-log p_k) + z_loss lse^2
//     dloss/dz_k = slope p_k - q_k - a [k == t]            with slope = a + sum q + 2 z_loss lse
//     d2loss/dz_k2 = slope p_k (1 - p_k) + square p_k^2     with square = 2 z_loss
//
// V holds a row per lane (short rows) or the same row in all lanes.
#pragma once

#include "logit.hpp"

namespace lossk {
namespace {

// What the pass over the logits leaves. d_k = z_k - maximum.
template <class V>
struct row_sums {
    V maximum;
    V others;  // sum of exp(d_k) over k != t; over all k where there is no label
    V d_t;     // -infinity where there is no label
    V linear;  // sum of q_k d_k
    V mass;    // sum of q_k
};

template <class V>
struct row_result {
    V loss, lse;
    V inverse;  // 1 / sum exp(d): p_k = exp(d_k) * inverse
    V slope, square;
    V grad_t, hess_t;  // at the label
    V log_total;       // lse - maximum
};

// q d with 0 * -infinity = 0.
template <class V>
inline V linear_term(V q, V d) {
    return keep<V>(q != lane_t<V>(0), q * d);
}

template <class V>
struct cross_entropy {
    bool labels;
    lane_t<V> z_loss;

    cross_entropy(bool has_labels, const cross_entropy_options& o)
        : labels(has_labels), z_loss(static_cast<lane_t<V>>(o.z_loss)) {}

    // `a` is the weight of the label's term and `q_t` its linear weight; both are 0 where there is no label.
    row_result<V> operator()(const row_sums<V>& s, V a, V q_t) const {
        const V e_t = exp_flush(s.d_t);
        const V total = s.others + e_t;
        // Where the label has the largest logit, others may be far below 1: log1p(others) keeps its digits.
        const V log_total = log1p(choose(s.d_t == lane_t<V>(0), s.others, total - lane_t<V>(1)));
        const V lse = s.maximum + log_total;
        const V square = splat<V>(z_loss * lane_t<V>(2)), slope = a + s.mass + lse * square;

        V loss = s.mass * log_total - s.linear;
        if (labels) loss += linear_term(a, log_total - s.d_t);
        if (z_loss != lane_t<V>(0)) loss += z_loss * lse * lse;

        const V inverse = lane_t<V>(1) / total;
        const V p_t = e_t * inverse;
        const V miss = s.others * inverse;  // 1 - p_t, without cancellation
        const V grad_t = (slope - a) * p_t - a * miss - q_t;
        const V hess_t = slope * p_t * miss + p_t * p_t * square;
        return {loss, lse, inverse, slope, square, grad_t, hess_t, log_total};
    }
};

// ---- every option -------------------------------------------------------------------------------------------------

// Gradient and second derivative with respect to a logit, from its probability and its linear weight.
template <class V>
inline V softmax_grad(V p, V slope, V q) {
    return fma(p, slope, -q);
}
template <class V>
inline V softmax_hess(V p, V slope, V square) {
    return p * fma(lane_t<V>(1) - p, slope, square * p);
}

// Soft capping: z becomes y = cap tanh(z / cap); dy/dz = 1 - (y/cap)^2, d2y/dz2 = -2 (y/cap^2) dy/dz.
template <class V>
struct soft_cap {
    lane_t<V> cap{}, inverse{};

    soft_cap() = default;
    explicit soft_cap(lane_t<V> at) : cap(at), inverse(lane_t<V>(1) / at) {}

    [[gnu::always_inline]] V operator()(V z) const {
        const V x = z * inverse;
        if (any<V>(abs(x) >= lane_t<V>(1))) [[unlikely]]  // logits mostly lie within the cap
            return tanh(x) * cap;
        return tanh_near(x) * cap;
    }
    V slope(V y) const {
        const V t = y * inverse;
        return lane_t<V>(1) - t * t;
    }
    V curvature(V y) const { return y * slope(y) * (lane_t<V>(-2) * inverse * inverse); }
};

}  // namespace
}  // namespace lossk
