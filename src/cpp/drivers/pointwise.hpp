// One pass over pointwise arrays: value, gradient and second derivative of a formula for z, y of any length.
#pragma once

#include "../losses/point.hpp"
#include "memory.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// A tile is small enough for f32 lanes to be summed exactly enough (16 additions a lane) and for L1 to hold it while
// its results wait to be streamed.
constexpr index tile = 512;

template <class Formula, class T, verb what>
struct pointwise_driver {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = 128 / register_bytes;

    const pointwise_args& a;
    const Formula formula{a.parameters};
    const V scale = splat<V>(static_cast<T>(a.scale));
    lane_sum<T, K> sum{};

    // Register k of a group: samples from i on, results to g and h.
    template <class Reach>
    void step(index i, Reach reach, int k, T* g, T* h) {
        const auto get = [&](const void* p, T fill) { return reach.load(static_cast<const T*>(p) + i, fill); };
        point<V> at = formula(get(a.z, T(1)), get(a.y, T(1)));
        if (a.w) {
            const V w = get(a.w, T(0));
            at = {at.value * w, at.grad * w, at.hess * w};
        }
        if constexpr (wants_value(what)) {
            if (a.each) reach.store(static_cast<T*>(a.each) + i, at.value);
            sum.add(k, reach.mask(at.value));
        }
        if constexpr (wants_grad(what)) reach.store(g, at.grad * scale);
        if constexpr (wants_hess(what)) reach.store(h, at.hess * scale);
    }

    void run_tile(index i, index n, T* g, T* h) {
        const index grouped = n - n % (K * L);
        for (index j = 0; j < grouped; j += K * L)
#pragma GCC unroll 8
            for (int k = 0; k < K; ++k) step(i + j + k * L, whole_register<V>{}, k, g + j + k * L, h + j + k * L);
        int k = 0;
        each_register<V>(n - grouped, [&](index j, auto reach) {
            step(i + grouped + j, reach, k++, g + grouped + j, h + grouped + j);
        });
        if constexpr (wants_value(what)) sum.flush();
    }

    void run_streaming(index begin, index end) {
        line_stream<T, tile> g(static_cast<T*>(a.g) + begin), h(static_cast<T*>(wants_hess(what) ? a.h : a.g) + begin);
        for (index i = begin; i < end; i += tile) {
            const index n = smaller(tile, end - i);
            run_tile(i, n, g.here(), h.here());
            g.push(n);
            if constexpr (wants_hess(what)) h.push(n);
        }
    }

    double run(index begin, index end) {
        if (wants_grad(what) && a.streaming) {
            run_streaming(begin, end);
            stream_fence();
        } else {
            T *g = static_cast<T*>(a.g), *h = static_cast<T*>(a.h);
            for (index i = begin; i < end; i += tile) run_tile(i, smaller(tile, end - i), g + i, h + i);
        }
        return wants_value(what) ? sum.result() : 0.0;
    }
};

template <class Formula, class T, verb what>
double pointwise(const pointwise_args& a, index begin, index end) {
    return pointwise_driver<Formula, T, what>{a}.run(begin, end);
}

}  // namespace
}  // namespace lossk
