// Activations of x and a gate, over arrays that lie in runs: the function, or a cotangent times both derivatives.
//
// Runs are gathered to tiles, which formulas work on, and results scattered: a formula has two short loops a type.
#pragma once

#include "../base/attributes.hpp"
#include "groups.hpp"

namespace lossk {
namespace {

// What a formula's loop reads, and what it leaves there.
template <class T>
struct gated_tile {
    alignas(line_bytes) T x[piece]{}, gate[piece]{}, c[piece]{};
    alignas(line_bytes) T out[piece], gate_out[piece];
};

template <class Formula, class T, bool backward>
[[LOSSK_ONE_LOOP]] void gated_loop(gated_tile<T>& tile, index n) {
    using V = vec<T>;
    for (index i = 0; i < n; i += lanes<V>) {
        const V x = load<V>(tile.x + i), gate = load<V>(tile.gate + i);
        if constexpr (backward) {
            const V c = load<V>(tile.c + i);
            store(tile.out + i, Formula::by_x(x, gate, c));
            store(tile.gate_out + i, Formula::by_gate(x, gate, c));
        } else {
            store(tile.out + i, Formula::value(x, gate));
        }
    }
}

template <class T>
inline void gather(storage kind, const void* from, index begin, index n, T* to) {
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same) return widen_tile(kind, from, begin, n, to);
    __builtin_memcpy(to, static_cast<const T*>(from) + begin, static_cast<std::size_t>(n) * sizeof(T));
}
template <class T>
inline void scatter(storage kind, const T* from, index n, void* to, index begin) {
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same) return narrow_tile(kind, from, n, to, begin);
    __builtin_memcpy(static_cast<T*>(to) + begin, from, static_cast<std::size_t>(n) * sizeof(T));
}

// Calls work(run, at, to, m) for all runs of elements [i, i + n): from which element on the run is among them, where it
// is in the tile, and how much of it.
template <class F>
inline void each_run(index run, index i, index n, F&& work) {
    for (index done = 0, m; done < n; done += m) {
        const index r = (i + done) / run, at = (i + done) % run;
        m = smaller(run - at, n - done);
        work(r, at, done, m);
    }
}

template <class T>
[[gnu::noinline]] void run_gated(const gated_args& a, void (*loop)(gated_tile<T>&, index), index begin, index end) {
    gated_tile<T> tile;
    each_piece(begin, end, [&](index i, index n) {
        each_run(a.run, i, n, [&](index r, index at, index to, index m) {
            const index gate = r % a.gate_runs * a.gate_step;
            gather(a.kind, a.x, r * a.x_step + at, m, tile.x + to);
            gather(a.kind, a.gate, a.gate_repeats ? gate : gate + at, a.gate_repeats ? 1 : m, tile.gate + to);
            if (a.gate_repeats)
                for (index j = 1; j < m; ++j) tile.gate[to + j] = tile.gate[to];
        });
        if (a.c) gather(a.kind, a.c, i, n, tile.c);
        loop(tile, n);
        if (!a.c) return scatter(a.kind, tile.out, n, a.out, i);
        each_run(a.run, i, n, [&](index r, index at, index from, index m) {
            scatter(a.kind, tile.out + from, m, a.out, r * a.x_step + at);
            scatter(a.kind, tile.gate_out + from, m, a.gate_out, r * a.gate_out_step + at);
        });
    });
}

template <class Formula, class T>
void gated(const gated_args& a, index begin, index end) {
    run_gated<T>(a, a.c ? gated_loop<Formula, T, true> : gated_loop<Formula, T, false>, begin, end);
}

}  // namespace
}  // namespace lossk
