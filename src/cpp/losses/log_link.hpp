// What losses with a logarithmic link share.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

// y exp(x): finite wherever that is, though exp(x) may overflow; 0 where y is, unless x is NaN.
template <class V>
inline V times_exp(V y, V x) {
    const V root = exp_over(x * lane_t<V>(0.5));
    return keep<V>((y != lane_t<V>(0)) | (x != x), y * root * root);
}

// y b of a - y b: 0 where y is, and 0 where a is infinite, which then decides alone.
template <class V>
inline V share_of(V a, V y, V b) {
    const lane_t<V> inf = lane_t<V>(__builtin_inf());
    return a == inf ? y * lane_t<V>(0) : keep<V>(y != lane_t<V>(0), y * b);
}

}  // namespace
}  // namespace lossk
