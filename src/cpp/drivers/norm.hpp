// The norm of gradients, and the factor that clips them.
#pragma once

#include "../simd/narrow.hpp"
#include "memory.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// The sum of squares, in f64: f32 cannot overflow and loses nothing, infinity and NaN show. Which lane an element goes
// to depends on its place alone, if all runs but the last are multiples of 128 bytes.
template <class T>
class square_sum {
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes;
    vec<double> lane_[K]{};
    int k_ = 0;

    void add(vec<double> v) {
        lane_[k_] = fma(v, v, lane_[k_]);
        k_ = (k_ + 1) % K;
    }

public:
    void add(const T* x, index n) {
        each_register<V>(n, [&](index i, auto reach) {
            if constexpr (sizeof(T) == sizeof(double)) {
                add(reach.load(x + i));
            } else {
                const halves h = widen(reach.load(x + i));
                add(h.low);
                add(h.high);
            }
        });
    }
    double result() { return tree_sum(lane_); }
};

// Calls work(x, begin, n) with every tile of elements [begin, end), widened to f32.
template <class F>
inline void each_widened_tile(storage kind, const void* x, index begin, index end, F&& work) {
    alignas(line_bytes) float widened[update_tile];
    for (index i = begin; i < end; i += update_tile) {
        const index n = smaller(update_tile, end - i);
        widen_tile(kind, x, i, n, widened);
        work(widened, i, n);
    }
}

template <class T>
double sum_of_squares(storage kind, const void* x, index begin, index end) {
    square_sum<T> sum;
    const auto add_tile = [&](const auto* v, index, index n) { sum.add(v, n); };
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same) {
            each_widened_tile(kind, x, begin, end, add_tile);
            return sum.result();
        }
    add_tile(static_cast<const T*>(x) + begin, begin, end - begin);
    return sum.result();
}

template <class T>
inline void scale_run(T* x, index n, double by) {
    using V = vec<T>;
    const V factor = splat<V>(static_cast<T>(by));
    each_register<V>(n, [&](index i, auto reach) { reach.store(x + i, reach.load(x + i) * factor); });
}

template <class T>
void scale(storage kind, void* x, double by, index begin, index end) {
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same)
            return each_widened_tile(kind, x, begin, end, [&](float* v, index i, index n) {
                scale_run(v, n, by);
                narrow_tile(kind, v, n, x, i);
            });
    scale_run(static_cast<T*>(x) + begin, end - begin, by);
}

}  // namespace
}  // namespace lossk
