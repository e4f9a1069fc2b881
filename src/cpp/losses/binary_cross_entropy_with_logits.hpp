// Binary cross-entropy of a logit z: (1 - y) z + (1 + (pos_weight - 1) y) log(1 + exp(-z)).
#pragma once

#include "domain.hpp"
#include "logit.hpp"
#include "smoothed_target.hpp"

namespace lossk {
namespace {

template <class V>
inline point<V> binary_cross_entropy_of_logit(V z, V y, V pos_weight) {
    const logit<V> at(z);
    const V yes = pos_weight * y, no = lane_t<V>(1) - y;
    return {at.cross_entropy(yes, no), at.slope(yes, no), (yes + no) * at.p * at.q};
}

template <class T>
struct binary_cross_entropy_with_logits : of_shares {
    static constexpr const char* name = "binary_cross_entropy_with_logits";
    static constexpr int parameters = 1;

    T pos_weight;
    explicit binary_cross_entropy_with_logits(const double* p) : pos_weight(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        return binary_cross_entropy_of_logit(z, y, splat<V>(pos_weight));
    }
};

// The same with a weight for each class, or sample.
template <class T>
struct binary_cross_entropy_with_logits_weighted : of_shares {
    static constexpr const char* name = "binary_cross_entropy_with_logits_weighted";
    static constexpr int parameters = 0;
    static constexpr int inputs = 3;

    explicit binary_cross_entropy_with_logits_weighted(const double*) {}

    template <class V>
    point<V> operator()(V z, V y, V pos_weight) const {
        return binary_cross_entropy_of_logit(z, y, pos_weight);
    }
};

// Both with label smoothing.
template <class T>
struct binary_cross_entropy_with_logits_smoothed : of_shares {
    static constexpr const char* name = "binary_cross_entropy_with_logits_smoothed";
    static constexpr int parameters = 2;
    static constexpr bool is_long = true;

    T pos_weight;
    smoothed_target<T> between;
    explicit binary_cross_entropy_with_logits_smoothed(const double* p)
        : pos_weight(static_cast<T>(p[0])), between(p[1]) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        return binary_cross_entropy_of_logit(z, between(y), splat<V>(pos_weight));
    }
};

template <class T>
struct binary_cross_entropy_with_logits_weighted_smoothed : of_shares {
    static constexpr const char* name = "binary_cross_entropy_with_logits_weighted_smoothed";
    static constexpr int parameters = 1;
    static constexpr int inputs = 3;
    static constexpr bool is_long = true;

    smoothed_target<T> between;
    explicit binary_cross_entropy_with_logits_weighted_smoothed(const double* p) : between(p[0]) {}

    template <class V>
    point<V> operator()(V z, V y, V pos_weight) const {
        return binary_cross_entropy_of_logit(z, between(y), pos_weight);
    }
};

}  // namespace
}  // namespace lossk
