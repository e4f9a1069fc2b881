// Sums that do not depend on how the work was shared out: fixed lanes, added by a fixed tree in f64.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

inline double tree_sum(const double* x, int n) {
    double level[128];
    for (int i = 0; i < n; ++i) level[i] = x[i];
    for (int width = n / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) level[i] += level[i + width];
    return level[0];
}

// Sums K registers of lanes. f32 lanes are moved to f64 by flush(), so call it every few additions.
template <class T, int K>
class lane_sum {
    static constexpr int wide = K * static_cast<int>(sizeof(double) / sizeof(T));
    vec<T> part_[K]{};
    vec<double> total_[wide]{};

public:
    void add(int k, vec<T> v) { part_[k] += v; }

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

    double result() {
        flush();
        constexpr int n = lanes<vec<double>>;
        double x[wide * n];
        for (int k = 0; k < wide; ++k) store(x + k * n, total_[k]);
        return tree_sum(x, wide * n);
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
    constexpr int K = 128 / register_bytes, L = lanes<V>;
    const T* p = static_cast<const T*>(x);
    lane_sum<T, K> total;
    for (index i = begin; i < end;) {
        for (int k = 0; k < K && i < end; ++k, i += L)
            total.add(k, end - i >= L ? load<V>(p + i) : load_first<V>(p + i, static_cast<int>(end - i), T(0)));
        total.flush();
    }
    return total.result();
}

}  // namespace
}  // namespace lossk
