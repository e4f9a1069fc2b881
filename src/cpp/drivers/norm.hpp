// The norm of gradients, and the factor that clips them.
#pragma once

#include "memory.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// Squares in f64, so f32 cannot overflow and loses nothing; infinity and NaN show in the sum. Which of the lanes an
// element goes to depends on its place alone.
template <class T>
inline double squares_run(const T* x, index n) {
    using V = vec<T>;
    constexpr int K = 128 / register_bytes;
    vec<double> lane[K]{};
    int k = 0;
    const auto add = [&](vec<double> v) {
        lane[k] = fma(v, v, lane[k]);
        k = (k + 1) % K;
    };
    each_register<V>(n, [&](index i, auto reach) {
        if constexpr (sizeof(T) == sizeof(double)) {
            add(reach.load(x + i));
        } else {
            const halves h = widen(reach.load(x + i));
            add(h.low);
            add(h.high);
        }
    });
    return tree_sum(lane);
}

template <class T>
double sum_of_squares(const void* x, index begin, index end) {
    return squares_run(static_cast<const T*>(x) + begin, end - begin);
}

template <class T>
inline void scale_run(T* x, index n, double by) {
    using V = vec<T>;
    const V factor = splat<V>(static_cast<T>(by));
    each_register<V>(n, [&](index i, auto reach) { reach.store(x + i, reach.load(x + i) * factor); });
}

template <class T>
void scale(void* x, double by, index begin, index end) {
    scale_run(static_cast<T*>(x) + begin, end - begin, by);
}

}  // namespace
}  // namespace lossk
