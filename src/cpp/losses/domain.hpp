// Domains of targets: what losses that share one are derived from. NaN is in all of them.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

struct of_signs {
    static constexpr domain_text domain{"-1 or 1, as 2*y - 1 makes them of 0 and 1", nullptr};
    template <class V>
    static bits<V> outside(V y) {
        return abs(y * y - lane_t<V>(1)) > lane_t<V>(0);
    }
};
struct of_shares {
    static constexpr domain_text domain{"a number in [0, 1]", "(y + 1) / 2"};
    template <class V>
    static bits<V> outside(V y) {
        return y * (lane_t<V>(1) - y) < lane_t<V>(0);
    }
};
struct of_counts {
    static constexpr domain_text domain{"a number of at least 0", nullptr};
    template <class V>
    static bits<V> outside(V y) {
        return y < lane_t<V>(0);
    }
};
struct of_positive_numbers {
    static constexpr domain_text domain{"a number above 0", nullptr};
    template <class V>
    static bits<V> outside(V y) {
        return y <= lane_t<V>(0);
    }
};

template <class Formula>
constexpr bool has_domain = requires { Formula::domain; };
template <class Formula, class V>
constexpr bool has_domain_of_targets = requires(const Formula& f, V y) { f.outside(y); };

// The lanes whose inputs are outside the domain of a formula that has one.
template <class Formula, class V, class... X>
inline bits<V> outside_of(const Formula& formula, V z, V y, X... x) {
    if constexpr (has_domain_of_targets<Formula, V>)
        return formula.outside(y);
    else
        return formula.outside(z, y, x...);
}

}  // namespace
}  // namespace lossk
