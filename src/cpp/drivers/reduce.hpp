// Sums that do not depend on how the work was shared out: fixed lanes, added by a fixed tree in f64.
#pragma once

#include "../simd/unroll.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

// The sum of n registers (a power of two) by halves: registers first, then lanes. So lane i of the whole is added to
// lane i + half, then half of that, and so on, whatever the width of a register.
template <class V, int n>
inline lane_t<V> tree_sum(V (&r)[n]) {
    for (int width = n / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) r[i] += r[i + width];
    lane_t<V> x[lanes<V>];
    store(x, r[0]);
    for (int width = lanes<V> / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) x[i] += x[i + width];
    return x[0];
}

// Sums K registers of lanes. f32 lanes are moved to f64 by flush(), so call it every few additions.
template <class T, int K>
class lane_sum {
    static constexpr int wide = K * static_cast<int>(sizeof(double) / sizeof(T));
    vec<T> part_[K]{};
    vec<double> total_[wide]{};

public:
    void add(int k, vec<T> v) { part_[k] += v; }

    void add_all(const vec<T> (&v)[K]) {
        for (int k = 0; k < K; ++k) add(k, v[k]);
        flush();
    }

    // The lanes as locals of a loop, which stay in registers whatever is stored, and back.
    void take(vec<T> (&part)[K]) const {
        unrolled<K>([&](auto k) { part[k] = part_[k]; });
    }
    void give(const vec<T> (&part)[K]) {
        unrolled<K>([&](auto k) { part_[k] = part[k]; });
    }

    void flush() {
        for (int k = 0; k < K; ++k) {
            if constexpr (sizeof(T) == sizeof(double)) {
                total_[k] += part_[k];
            } else {
                const halves h = widen(part_[k]);
                total_[2 * k] += h.low;
                total_[2 * k + 1] += h.high;
            }
            part_[k] = vec<T>{};
        }
    }

    void scale(double by) {
        flush();
        for (auto& t : total_) t *= splat<vec<double>>(by);
    }

    double result() {
        flush();
        vec<double> sums[wide];
        for (int k = 0; k < wide; ++k) sums[k] = total_[k];
        return tree_sum(sums);
    }

    // The sum so far; then begins anew.
    double take_result() {
        const double sum = result();
        unrolled<wide>([&](auto k) { total_[k] = vec<double>{}; });
        return sum;
    }
};

// The largest lane; NaN lanes may be lost.
template <class V>
inline lane_t<V> largest_lane(V v) {
    lane_t<V> x[lanes<V>];
    store(x, v);
    for (int width = lanes<V> / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) x[i] = x[i] > x[i + width] ? x[i] : x[i + width];
    return x[0];
}

template <class T>
double sum(const void* x, index begin, index end) {
    using V = vec<T>;
    constexpr int K = 128 / register_bytes;
    const T* p = static_cast<const T*>(x);
    lane_sum<T, K> total;
    int k = 0;
    each_register<V>(end - begin, [&](index i, auto reach) {
        total.add(k, reach.load(p + begin + i));
        if (++k == K) total.flush(), k = 0;
    });
    return total.result();
}

}  // namespace
}  // namespace lossk
