// Arrays copied between 16 bits and f32, and added to one another: what matrix products leave to be done.
#pragma once

#include "../simd/narrow.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

inline void widen_elements(storage kind, const void* from, float* to, index begin, index end) {
    widen_tile(kind, from, begin, end - begin, to + begin);
}

inline void narrow_elements(storage kind, const float* from, void* to, index begin, index end) {
    narrow_tile(kind, from + begin, end - begin, to, begin);
}

// x += y
template <class T>
void add(void* x, const void* y, index begin, index end) {
    using V = vec<T>;
    T* to = static_cast<T*>(x) + begin;
    const T* from = static_cast<const T*>(y) + begin;
    each_register<V>(end - begin,
                     [&](index i, auto reach) { reach.store(to + i, reach.load(to + i) + reach.load(from + i)); });
}

}  // namespace
}  // namespace lossk
