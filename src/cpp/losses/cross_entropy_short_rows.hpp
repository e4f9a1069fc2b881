// Softmax cross-entropy of short rows, a row a lane: the formula of cross_entropy.hpp for the options that
// say the same of every class, from sums in registers.
#pragma once

#include "cross_entropy.hpp"

namespace lossk {
namespace {

// Label smoothing and z_loss.
template <class V>
struct smoothing {
    lane_t<V> share, keep_share, even_share, z_loss;  // e, 1 - e, e/C
};

// ---- a label alone: a = w_t, no linear weights, no z_loss ---------------------------------------------------------

// What the pass over the logits leaves, rows in lanes. d_k = z_k - maximum, e_k = exp(d_k).
template <class V>
struct label_sums {
    V others{};  // sum of e_k over k != t
    V total{};   // over all k
    V d_t{};

    label_sums() = default;
    explicit label_sums(V, const smoothing<V>&) {}
    void add(V d, V e, bits<V> is_label) {
        others += keep(~is_label, e);
        total += e;
        d_t = choose(is_label, d, d_t);
    }
    // As above: where the label has the largest logit, others may be far below 1.
    V log_total() const { return log1p_positive(choose(d_t == lane_t<V>(0), others, total - lane_t<V>(1))); }
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
        loss = label_term(w, log_total, d_t);
        of_e *= w;
        grad_t *= w;
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

// z_loss lse^2, and what it adds to the slope.
template <class V>
struct z_loss_terms {
    V loss{}, slope{};

    z_loss_terms(V lse, const smoothing<V>& o) {
        if (o.z_loss == lane_t<V>(0)) return;
        loss = o.z_loss * lse * lse;
        slope = lse * (o.z_loss * lane_t<V>(2));
    }
};

// ---- a label, smoothing and z_loss: a = 1 - e, q_k = e/C ----------------------------------------------------------

template <class V>
struct smoothed_sums : label_sums<V> {
    V maximum{}, linear{};  // sum of q_k d_k
    V e_t{}, q{};

    smoothed_sums() = default;
    smoothed_sums(V largest, const smoothing<V>& o)
        : label_sums<V>(largest, o), maximum(largest), q(splat<V>(o.even_share)) {}
    void add(V d, V e, bits<V> is_label) {
        label_sums<V>::add(d, e, is_label);
        linear += linear_term(q, d);
        e_t = choose(is_label, e, e_t);
    }
};

template <class V>
class smoothed_loss {
    V of_e, q, factor;

public:
    static constexpr bool weighs_labels = false;  // a lane's linear weights would differ from class to class
    using sums = smoothed_sums<V>;
    V loss, grad_t;

    smoothed_loss(const sums& s, V of_row, const smoothing<V>& o) : q(s.q), factor(of_row) {
        const z_loss_terms<V> z(s.maximum + s.log_total(), o);
        const V inverse = lane_t<V>(1) / s.total;
        loss = label_term(splat<V>(o.keep_share), s.log_total(), s.d_t) + (o.share * s.log_total() - s.linear) + z.loss;
        of_e = (lane_t<V>(1) + z.slope) * inverse;
        grad_t = ((o.share + z.slope) * (s.e_t * inverse) - o.keep_share * (s.others * inverse) - q) * factor;
    }
    V grad(V e) const { return (e * of_e - q) * factor; }

    void weigh(V w) {
        loss *= w;
        factor *= w;
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
    V of_e, factor;

public:
    V loss;

    target_loss(const target_sums<V>& s, V of_row, const smoothing<V>& o) : factor(of_row) {
        const V log_total = log1p_positive(s.total - lane_t<V>(1));
        const z_loss_terms<V> z(s.maximum + log_total, o);
        loss = s.mass * log_total - s.linear + z.loss;
        of_e = (s.mass + z.slope) / s.total;
    }
    V grad(V e, V q) const { return (e * of_e - q) * factor; }

    void weigh(V w) {
        loss *= w;
        factor *= w;
    }
};

}  // namespace
}  // namespace lossk
