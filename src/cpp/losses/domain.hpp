// Domains of targets: what losses that share one are derived from. NaN is in all of them.
//
// `outside` tells exactly which lanes are not in a domain. Kernels gather a `mark` of every register instead, one or
// two instructions: bits that all are 0 where every target is inside. -0 and NaN may leave some, and are looked at
// again.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

struct of_signs {
    static constexpr domain_text domain{"-1 or 1, as 2*y - 1 makes them of 0 and 1", nullptr};
    static constexpr bool sign_tells = false;
    template <class V>
    static bits<V> outside(V y) {
        return abs(y * y - lane_t<V>(1)) > lane_t<V>(0);
    }
    template <class V>
    static bits<V> mark(V y) {
        return as_bits(y) ^ as_bits(splat<V>(1));
    }
};
struct of_shares {
    static constexpr domain_text domain{"a number in [0, 1]", "(y + 1) / 2"};
    static constexpr bool sign_tells = true;
    template <class V>
    static bits<V> outside(V y) {
        return y * (lane_t<V>(1) - y) < lane_t<V>(0);
    }
    // As integers, larger numbers have larger bits.
    template <class V>
    static bits<V> mark(V y) {
        const auto one = (unsigned_bits<V>)as_bits(splat<V>(1));
        return as_bits(y) | (bits<V>)(one - (unsigned_bits<V>)as_bits(y));
    }
};
struct of_counts {
    static constexpr domain_text domain{"a number of at least 0", nullptr};
    static constexpr bool sign_tells = true;
    template <class V>
    static bits<V> outside(V y) {
        return y < lane_t<V>(0);
    }
    template <class V>
    static bits<V> mark(V y) {
        return as_bits(y);
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
template <class Formula, class V>
constexpr bool has_marks = requires(const Formula& f, V y) { f.mark(y); };

// The lanes whose inputs are outside the domain of a formula that has one.
template <class Formula, class V, class... X>
inline bits<V> outside_of(const Formula& formula, V z, V y, X... x) {
    if constexpr (has_domain_of_targets<Formula, V>)
        return formula.outside(y);
    else
        return formula.outside(z, y, x...);
}

template <class Formula, class V, class... X>
inline bits<V> mark_of(const Formula& formula, V z, V y, X... x) {
    if constexpr (has_marks<Formula, V>)
        return formula.mark(y);
    else
        return outside_of(formula, z, y, x...);
}
// May any of the inputs of these marks be outside?
template <class Formula, class V>
inline bool may_be_outside(bits<V> marks) {
    if constexpr (has_marks<Formula, V>) {
        const bits<V> sign = as_bits(splat<V>(lane_t<V>(-0.0)));
        return any<V>((marks & (Formula::sign_tells ? sign : ~sign)) != 0);
    } else {
        return any<V>(marks);
    }
}

}  // namespace
}  // namespace lossk
