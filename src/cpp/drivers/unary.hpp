// A function of one register over an array: how the mathematics of simd/math.hpp is swept from Python.
#pragma once

#include "../simd/math.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

template <class F, class T>
void unary(const void* x, void* out, index n) {
    using V = vec<T>;
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(out);
    for (index i = 0; i < n; i += lanes<V>) {
        const int m = static_cast<int>(smaller(lanes<V>, n - i));
        store_first(to + i, F{}(load_first<V>(from + i, m, T(0))), m);
    }
}

}  // namespace
}  // namespace lossk
