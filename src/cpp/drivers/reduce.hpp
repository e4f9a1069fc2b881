// Sums that do not depend on how the work was shared out: fixed lanes, added by a fixed tree in f64.
#pragma once

#include "../simd/unroll.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

template <int half, class V, int... lane>
inline V other_halves(V v, sequence<lane...>) {
    return shuffle<(lane ^ half)...>(v, v);
}
// All lanes by halves: lane i with lane i + half, then with half of that. In registers: what is stored as a whole and
// loaded in parts costs more than all the rest.
template <class V, class F>
inline lane_t<V> fold_lanes(V v, F&& combine) {
    constexpr int n = lanes<V>;
    unrolled<__builtin_ctz(n)>([&](auto k) { v = combine(v, other_halves<(n >> (k + 1))>(v, sequence_to<n>{})); });
    return v[0];
}

// The sum of n registers (a power of two) by halves: registers first, then lanes. So lane i of the whole is added to
// lane i + half, then half of that, and so on, whatever the width of a register.
template <class V, int n>
inline lane_t<V> tree_sum(V (&r)[n]) {
    for (int width = n / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) r[i] += r[i + width];
    return fold_lanes(r[0], [](V a, V b) { return a + b; });
}

// Sums K registers of lanes. f32 lanes are moved to f64 by flush(), so call it every few additions.
template <class T, int K>
class lane_sum {
    static constexpr int wide = K * static_cast<int>(sizeof(double) / sizeof(T));
    vec<T> part_[K]{};
    vec<double> total_[wide]{};

public:
    void add(int k, vec<T> v) { part_[k] += v; }
    auto& registers() { return part_; }

    void add_all(const vec<T> (&v)[K]) {
        for (int k = 0; k < K; ++k) add(k, v[k]);
        flush();
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

// K sums that a loop by groups (each_in_groups) adds to, in registers whatever is stored. The k-th register of a group
// is added to the k-th sum, also of those that are left behind whole groups, where k is found out by comparing. So the
// lane that an element is added to depends on its place alone, whatever the width of a register.
template <class V, int K>
class group_sums {
    V (&total_)[K];
    V part_[K];

public:
    explicit group_sums(V (&total)[K]) : total_(total) {
        unrolled<K>([&](auto k) { part_[k] = total_[k]; });
    }
    template <int k>
    void add(constant<k>, V v) {
        part_[k] += v;
    }
    void add(int k, V v) {
        unrolled<K>([&](auto i) {
            if (i == k) part_[i] += v;
        });
    }
    template <int k>
    void add_square(constant<k>, V v) {
        part_[k] = fma(v, v, part_[k]);
    }
    void add_square(int k, V v) { add(k, v * v); }

    // After the loop.
    void give() const {
        unrolled<K>([&](auto k) { total_[k] = part_[k]; });
    }
};

// The largest lane; NaN lanes may be lost.
template <class V>
inline lane_t<V> largest_lane(V v) {
    return fold_lanes(v, [](V a, V b) { return max(a, b); });
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
