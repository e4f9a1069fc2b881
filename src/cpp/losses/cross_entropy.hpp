// Softmax cross-entropy of one row, from the few numbers that a pass over its logits leaves.
//
// With p = softmax(z), t the label, e the label smoothing, w the class weights, a = (1 - e) w_t and the linear weights
// q_k = (e/C) w_k (for probability targets y: a = 0, q_k = w_k (y_k (1 - e) + e/C)):
//
//     loss = a (-log p_t) + sum_k q_k (-log p_k) + z_loss lse^2
//     dloss/dz_k = slope p_k - q_k - a [k == t]            with slope = a + sum q + 2 z_loss lse
//     d2loss/dz_k2 = slope p_k (1 - p_k) + 2 z_loss p_k^2
//
// V holds a row per lane (few classes) or the same row in all lanes.
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
    V slope;
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

    // `a` is the weight of the label's term and `q_t` its linear weight; both are 0 where there is no label.
    row_result<V> operator()(const row_sums<V>& s, V a, V q_t) const {
        const V e_t = exp_flush(s.d_t);
        const V total = s.others + e_t;
        // Where the label has the largest logit, others may be far below 1: log1p(others) keeps its digits.
        const V log_total = log1p(choose(s.d_t == lane_t<V>(0), s.others, total - lane_t<V>(1)));
        const V lse = s.maximum + log_total;
        const V slope = a + s.mass + lse * (z_loss * lane_t<V>(2));

        V loss = s.mass * log_total - s.linear;
        if (labels) loss += keep<V>(a != lane_t<V>(0), a * (log_total - s.d_t));  // 0 * infinity = 0
        if (z_loss != lane_t<V>(0)) loss += z_loss * lse * lse;

        const V inverse = lane_t<V>(1) / total;
        const V p_t = e_t * inverse;
        const V miss = s.others * inverse;  // 1 - p_t, without cancellation
        const V grad_t = (slope - a) * p_t - a * miss - q_t;
        const V hess_t = slope * p_t * miss + p_t * p_t * (z_loss * lane_t<V>(2));
        return {loss, lse, inverse, slope, grad_t, hess_t, log_total};
    }
};

// ---- a label alone: a = w_t, no linear weights, no z_loss ---------------------------------------------------------

// What the pass over the logits leaves, rows in lanes. d_k = z_k - maximum, e_k = exp(d_k).
template <class V>
struct label_sums {
    V others{};  // sum of e_k over k != t
    V total{};   // over all k
    V d_t{};

    label_sums() = default;
    explicit label_sums(V) {}
    void add(V d, V e, bits<V> is_label) {
        others += keep(~is_label, e);
        total += e;
        d_t = choose(is_label, d, d_t);
    }
    // As above: where the label has the largest logit, others may be far below 1.
    V log_total() const { return log1p_positive(choose(d_t == lane_t<V>(0), others, total - lane_t<V>(1))); }
};

// Label smoothing and z_loss.
template <class V>
struct smoothing {
    lane_t<V> share, keep_share, even_share, z_loss;  // e, 1 - e, e/C
};

// w (log_total - d_t), where a label of weight 0 costs nothing even at a logit of -infinity.
template <class V>
inline V label_term(V w, V log_total, V d_t) {
    return w * log_total - linear_term(w, d_t);
}

template <class V>
class label_loss {
    V log_total, d_t;
    V of_e;

public:
    static constexpr bool weighs_labels = true;
    using sums = label_sums<V>;
    V loss, grad_t;  // factor * dloss/dz_k at the label: -factor (1 - p_t)

    label_loss(const sums& s, V factor, const smoothing<V>&)
        : log_total(s.log_total()),
          d_t(s.d_t),
          of_e(factor / s.total),
          loss(log_total - d_t),
          grad_t(-(s.others * of_e)) {}
    // Elsewhere.
    V grad(V e) const { return e * of_e; }

    void weigh(V w) {
        loss *= w;
        of_e *= w;
        grad_t *= w;
    }
    void weigh_label(V w) {
        weigh(w);
        loss = label_term(w, log_total, d_t);
    }
};

// Two classes are one logit: that of the label, z_t - z_other. t is 0 or 1 in every lane.
template <class V>
struct two_classes_loss {
    V loss, grad_0, grad_1;

    two_classes_loss(V z_0, V z_1, bits<V> t, V w, V factor) {
        const bits<V> turn = t << (8 * static_cast<int>(sizeof(lane_t<V>)) - 1);  // the sign, for t = 1
        const V largest = max(z_0, z_1);
        // Rows of +infinity, or of -infinity alone, are NaN: largest - largest is 0 elsewhere.
        const V difference = (z_0 - z_1) + (largest - largest);
        const logit<V> at(from_bits<V>(as_bits(difference) ^ turn));
        loss = label_term(w, at.spread, min(lane_t<V>(0), at.x));
        grad_1 = from_bits<V>(as_bits(at.q * factor) ^ turn);
        grad_0 = -grad_1;
    }
};

// ---- a label, smoothing and z_loss: a = 1 - e, q_k = e/C ----------------------------------------------------------

template <class V>
struct smoothed_sums : label_sums<V> {
    V maximum{}, linear{};  // sum of d_k
    V e_t{};

    smoothed_sums() = default;
    explicit smoothed_sums(V largest) : label_sums<V>(largest), maximum(largest) {}
    void add(V d, V e, bits<V> is_label) {
        label_sums<V>::add(d, e, is_label);
        linear += d;
        e_t = choose(is_label, e, e_t);
    }
};

template <class V>
class smoothed_loss {
    V of_e, q;

public:
    static constexpr bool weighs_labels = false;  // a lane's linear weights would differ from class to class
    using sums = smoothed_sums<V>;
    V loss, grad_t;

    smoothed_loss(const sums& s, V factor, const smoothing<V>& o) : q(factor * o.even_share) {
        const V log_total = s.log_total(), lse = s.maximum + log_total, z_slope = lse * (o.z_loss * lane_t<V>(2));
        const V inverse = lane_t<V>(1) / s.total;
        loss = label_term(splat<V>(o.keep_share), log_total, s.d_t);
        if (o.share != lane_t<V>(0)) loss += o.share * log_total - o.even_share * s.linear;
        if (o.z_loss != lane_t<V>(0)) loss += o.z_loss * lse * lse;
        of_e = factor * (lane_t<V>(1) + z_slope) * inverse;
        grad_t = factor * ((o.share + z_slope) * (s.e_t * inverse) - o.keep_share * (s.others * inverse)) - q;
    }
    V grad(V e) const { return e * of_e - q; }

    void weigh(V w) {
        loss *= w;
        of_e *= w;
        q *= w;
        grad_t *= w;
    }
};

// ---- probabilities, smoothing and z_loss: a = 0, q_k = y_k (1 - e) + e/C ------------------------------------------

template <class V>
struct target_sums {
    V maximum{}, total{}, linear{}, mass{};

    explicit target_sums(V largest) : maximum(largest) {}
    void add(V d, V e, V q) {
        total += e;
        linear += linear_term(q, d);
        mass += q;
    }
};

template <class V>
class target_loss {
    V of_e, of_q;

public:
    V loss;

    target_loss(const target_sums<V>& s, V factor, const smoothing<V>& o) : of_q(factor) {
        const V log_total = log1p_positive(s.total - lane_t<V>(1)), lse = s.maximum + log_total;
        loss = s.mass * log_total - s.linear;
        if (o.z_loss != lane_t<V>(0)) loss += o.z_loss * lse * lse;
        of_e = factor * (s.mass + lse * (o.z_loss * lane_t<V>(2))) / s.total;
    }
    V grad(V e, V q) const { return e * of_e - q * of_q; }

    void weigh(V w) {
        loss *= w;
        of_e *= w;
        of_q *= w;
    }
};

// ---- every option -------------------------------------------------------------------------------------------------

// Gradient and second derivative with respect to a logit, from its probability and its linear weight.
template <class V>
inline V softmax_grad(V p, V slope, V q) {
    return fma(p, slope, -q);
}
template <class V>
inline V softmax_hess(V p, V slope, V two_z_loss) {
    return p * fma(lane_t<V>(1) - p, slope, two_z_loss * p);
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
