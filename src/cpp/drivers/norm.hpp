// The norm of gradients, and the factor that clips them.
#pragma once

#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// The sum of squares, in f64: f32 cannot overflow and loses nothing, infinity and NaN show. Which lane an element goes
// to depends on its place alone, if all runs but the last are multiples of 128 bytes.
template <class T>
class square_sum {
    using V = vec<T>;
    static constexpr int wide = sizeof(double) / sizeof(T);  // registers of f64 that a register becomes
    static constexpr int K = 128 / register_bytes / wide;
    vec<double> lane_[wide][K]{};

public:
    void add(const T* x, index n) {
        group_sums<vec<double>, K> low(lane_[0]), high(lane_[wide - 1]);
        each_in_groups<V, K>(n, [&](index i, auto k, auto reach) {
            if constexpr (wide == 1) {
                low.add_square(k, reach.load(x + i));
            } else {
                const halves h = widen(reach.load(x + i));
                low.add_square(k, h.low);
                high.add_square(k, h.high);
            }
        });
        low.give();
        if constexpr (wide == 2) high.give();
    }
    double result() const {
        vec<double> in_order[K * wide];
        for (int k = 0; k < K * wide; ++k) in_order[k] = lane_[k % wide][k / wide];
        return tree_sum(in_order);
    }
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
