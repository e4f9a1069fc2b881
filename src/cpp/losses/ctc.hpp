// CTC: how states of one time make those of the next. Between labels, and at both ends, there may be a blank:
//
//     blank[k] <- blank[k], label[k - 1]           label[k] <- label[k], blank[k], label[k - 1]
//
// and the last only where the two labels differ. States are logarithms of probabilities, -inf where no path leads.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

// What to take exponentials from: where all terms are -inf, not that, of which -inf less -inf is none.
template <class V>
inline V where_finite(V top) {
    return keep(top > -lane_t<V>(__builtin_inf()), top);
}

// log(exp(a) + exp(b)).
template <class V>
inline V log_add(V a, V b) {
    const V top = max(a, b);
    const V from = where_finite(top);
    return top + log1p_unit(exp_flush(min(a, b) - from));
}

// log(exp(a) + exp(b) + exp(c)): the largest is 1, the other two are added to it.
template <class V>
inline V log_add(V a, V b, V c) {
    const V larger = max(a, b), smaller = min(a, b), top = max(larger, c);
    const V from = where_finite(top);
    return top + log1p_positive(exp_flush(smaller - from) + exp_flush(min(larger, c) - from));
}

}  // namespace
}  // namespace lossk
