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
    each_register<V>(n, [&](index i, auto reach) { reach.store(to + i, F{}(reach.load(from + i))); });
}

}  // namespace
}  // namespace lossk
