// What a pointwise formula returns: all it can say about one register of samples. The compiler drops what is unused.
#pragma once

#include "../base/types.hpp"
#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class V>
struct point {
    V value, grad, hess;
};

// NaN where the mask is set, v elsewhere: one `or`, as a number whose bits are all set is NaN.
template <class V>
inline V nan_where(bits<V> mask, V v) {
    return from_bits<V>(mask | as_bits(v));
}

}  // namespace
}  // namespace lossk
