// One pass over pointwise arrays: value, gradient and second derivative of a formula for inputs of any length.
#pragma once

#include "../losses/point.hpp"
#include "../simd/narrow.hpp"
#include "memory.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// A tile is small enough for f32 lanes to be summed exactly enough (16 additions a lane) and for L1 to hold it while
// its inputs are widened and its results wait to be streamed.
constexpr index tile = 512;

// What a formula may declare beside its call: a third input, and the lanes whose inputs are outside its domain.
template <class Formula>
constexpr int inputs_of() {
    if constexpr (requires { Formula::inputs; })
        return Formula::inputs;
    else
        return 2;
}
template <class Formula>
constexpr bool has_domain = requires { Formula::domain; };

// The inputs of a tile as arithmetic wants them: where they are, or widened.
template <class T, int inputs>
struct tile_inputs {
    const T *z, *y, *x;
    alignas(line_bytes) T buffer[3][tile];

    const T* array(const pointwise_args& a, const void* p, index i, index n, int slot) {
        if constexpr (sizeof(T) == sizeof(float)) {
            if (a.kind != storage::same) {
                widen_tile(a.kind, p, i, n, buffer[slot]);
                return buffer[slot];
            }
        }
        return static_cast<const T*>(p) + i;
    }

    void read(const pointwise_args& a, index i, index n) {
        z = array(a, a.z, i, n, 0);
        y = array(a, a.y, i, n, 1);
        if constexpr (inputs == 3) {
            x = static_cast<const T*>(a.x) + i;
            if (a.x_period == 0) return;
            const T* period = static_cast<const T*>(a.x);
            for (index j = 0, k = i % a.x_period; j < n; ++j, k = k + 1 == a.x_period ? 0 : k + 1)
                buffer[2][j] = period[k];
            x = buffer[2];
        }
    }
};

template <class Formula, class T, verb what>
struct pointwise_driver {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = 128 / register_bytes;
    static constexpr int inputs = inputs_of<Formula>();

    const pointwise_args& a;
    const Formula formula{a.parameters};
    const V scale = splat<V>(static_cast<T>(a.scale));
    lane_sum<T, K> sum{};
    tile_inputs<T, inputs> in;

    explicit pointwise_driver(const pointwise_args& args) : a(args) {}

    // Register k of a group: samples from i + j on, j in the tile that begins at i; results to g and h.
    template <class Reach>
    void step(index i, index j, Reach reach, int k, T* g, T* h) {
        const V z = reach.load(in.z + j, T(1)), y = reach.load(in.y + j, T(1));
        point<V> at;
        if constexpr (inputs == 3)
            at = formula(z, y, reach.load(in.x + j, T(1)));
        else
            at = formula(z, y);
        if (a.w) {
            const V w = reach.load(static_cast<const T*>(a.w) + i + j, T(0));
            at = {at.value * w, at.grad * w, at.hess * w};
        }
        if constexpr (wants_value(what)) {
            if (a.each) reach.store(static_cast<T*>(a.each) + i + j, at.value);
            sum.add(k, reach.mask(at.value));
        }
        if constexpr (wants_grad(what)) reach.store(g + j, at.grad * scale);
        if constexpr (wants_hess(what)) reach.store(h + j, at.hess * scale);
    }

    // One function for all ways to write results: formulas are long.
    [[gnu::noinline]] void run_tile(index i, index n, T* g, T* h) {
        in.read(a, i, n);
        const index grouped = n - n % (K * L);
        for (index j = 0; j < grouped; j += K * L)
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k) step(i, j + k * L, whole_register<V>{}, k, g, h);
        int k = 0;
        each_register<V>(n - grouped, [&](index j, auto reach) { step(i, grouped + j, reach, k++, g, h); });
        if constexpr (wants_value(what)) sum.flush();
    }

    void run_in_place(index begin, index end) {
        T *g = static_cast<T*>(a.g), *h = static_cast<T*>(a.h);
        for (index i = begin; i < end; i += tile) run_tile(i, smaller(tile, end - i), g + i, h + i);
    }

    void run_streaming(index begin, index end) {
        line_stream<T, tile> g(static_cast<T*>(a.g) + begin), h(static_cast<T*>(wants_hess(what) ? a.h : a.g) + begin);
        for (index i = begin; i < end; i += tile) {
            const index n = smaller(tile, end - i);
            run_tile(i, n, g.here(), h.here());
            g.push(n);
            if constexpr (wants_hess(what)) h.push(n);
        }
        stream_fence();
    }

    void run_narrow(index begin, index end) {
        alignas(line_bytes) T g_tile[tile], h_tile[tile];
        for (index i = begin; i < end; i += tile) {
            const index n = smaller(tile, end - i);
            run_tile(i, n, g_tile, h_tile);
            if constexpr (wants_grad(what)) narrow_tile(a.kind, g_tile, n, a.g, i);
            if constexpr (wants_hess(what)) narrow_tile(a.kind, h_tile, n, a.h, i);
        }
    }

    double run(index begin, index end) {
        bool narrow = false;
        if constexpr (sizeof(T) == sizeof(float)) {
            narrow = a.kind != storage::same;
            if (narrow) run_narrow(begin, end);
        }
        if (!narrow) wants_grad(what) && a.streaming ? run_streaming(begin, end) : run_in_place(begin, end);
        return wants_value(what) ? sum.result() : 0.0;
    }
};

template <class Formula, class T, verb what>
double pointwise(const pointwise_args& a, index begin, index end) {
    return pointwise_driver<Formula, T, what>(a).run(begin, end);
}

template <class Formula, class T>
index first_outside(const pointwise_args& a, index begin, index end) {
    using V = vec<T>;
    const Formula formula{a.parameters};
    tile_inputs<T, inputs_of<Formula>()> in;
    for (index i = begin; i < end; i += tile) {
        const index n = smaller(tile, end - i);
        in.read(a, i, n);
        index found = -1;
        each_register<V>(n, [&](index j, auto reach) {
            const V z = reach.load(in.z + j), y = reach.load(in.y + j);
            bits<V> outside;
            if constexpr (inputs_of<Formula>() == 3)
                outside = formula.outside(z, y, reach.load(in.x + j));
            else
                outside = formula.outside(z, y);
            outside = as_bits(reach.mask(from_bits<V>(outside)));
            if (found >= 0 || !any<V>(outside)) return;
            for (int k = lanes<V> - 1; k >= 0; --k)
                if (outside[k]) found = i + j + k;
        });
        if (found >= 0) return found;
    }
    return -1;
}

}  // namespace
}  // namespace lossk
