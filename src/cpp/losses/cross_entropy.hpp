// Softmax cross-entropy of one row, from the few numbers that a pass over its logits leaves.
//
// With p = softmax(z), t the label, e the label smoothing, w the class weights, a = (1 - e) w_t and the linear weights
// q_k = (e/C) w_k (for probability targets y: a = 0, q_k = w_k (y_k (1 - e) + e/C)):
//
//     loss = a (-log p_t) + sum_k q_k (-log p_k) + z_loss lse^2
//     dloss/dz_k = slope p_k - q_k - a [k == t]            with slope = a + sum q + 2 z_loss lse
//     d2loss/dz_k2 = slope p_k (1 - p_k) + square p_k^2     with square = 2 z_loss
//
// With gamma or epsilon, labels only: (1 - p_t)^gamma (-log p_t + epsilon (1 - p_t)) =: B(log p_t) takes the place of
// -log p_t, -a B' that of a, and a B'' is added to square (at the label: times (1 - p_t)^2, not p_t^2).
//
// V holds a row per lane (short rows) or the same row in all lanes.
#pragma once

#include "../base/softmax.hpp"
#include "logit.hpp"
#include "power.hpp"

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

// What gamma and epsilon make of a label's term: itself, and minus its first and its second derivative with respect to
// log p. With m = 1 - p, c = -log p + epsilon m, f = m^gamma and r = p/m:
//     f c,  f (gamma r c + 1 + epsilon p),  f (gamma r (2 (1 + epsilon p) - c + (gamma - 1) r c) - epsilon p)
template <class V>
struct bent_label {
    using T = lane_t<V>;
    bool bent;
    T gamma, epsilon;
    fixed_power<T> power;

    explicit bent_label(const cross_entropy_options& o)
        : bent(bends(o)),
          gamma(static_cast<T>(o.focal_gamma)),
          epsilon(static_cast<T>(o.poly_epsilon)),
          power(o.focal_gamma) {}

    struct term {
        V value, slope, square;
    };
    [[gnu::noinline]] term operator()(V surprise, V p, V m) const {
        constexpr T smallest =
            constants<T>::smallest_normal * T(1 << 20);  // so that multiples of 1 / smallest are finite
        const V c = surprise + epsilon * m, f = power(m), rise = T(1) + epsilon * p;
        // Where p is 0, c may be infinite: their product is 0.
        const V finite = min(T(1) / smallest, c), r = p / max(smallest, m), by_r = gamma * r;
        const V rc = r * finite;
        return {f * c, f * (gamma * rc + rise),
                f * (by_r * (T(2) * rise - finite + (gamma - T(1)) * rc) - epsilon * p)};
    }
};

template <class V>
struct cross_entropy {
    bool labels;
    lane_t<V> z_loss;
    bent_label<V> bend;

    cross_entropy(bool has_labels, const cross_entropy_options& o)
        : labels(has_labels), z_loss(static_cast<lane_t<V>>(o.z_loss)), bend(o) {}

    // `a` is the weight of the label's term and `q_t` its linear weight; both are 0 where there is no label.
    row_result<V> operator()(const row_sums<V>& s, V a, V q_t) const {
        const V e_t = exp_flush(s.d_t);
        const V total = s.others + e_t;
        // Where the label has the largest logit, others may be far below 1: log1p(others) keeps its digits.
        const V log_total = log1p(choose(s.d_t == lane_t<V>(0), s.others, total - lane_t<V>(1)));
        const V lse = s.maximum + log_total;
        const V inverse = lane_t<V>(1) / total;
        const V p_t = e_t * inverse;
        const V miss = s.others * inverse;  // 1 - p_t, without cancellation

        V surprise = log_total - s.d_t, own = a, bent{};  // the label's term, and a times its slope and square
        if (bend.bent) [[unlikely]] {
            const auto of = bend(surprise, p_t, miss);
            surprise = of.value;
            own = a * of.slope;
            bent = a * of.square;
        }
        const V square = splat<V>(z_loss * lane_t<V>(2)), slope = own + s.mass + lse * square;

        V loss = s.mass * log_total - s.linear;
        if (labels) loss += linear_term(a, surprise);
        if (z_loss != lane_t<V>(0)) loss += z_loss * lse * lse;

        const V grad_t = (slope - own) * p_t - own * miss - q_t;
        const V hess_t = slope * p_t * miss + p_t * p_t * square + miss * miss * bent;
        return {loss, lse, inverse, slope, square + bent, grad_t, hess_t, log_total};
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
