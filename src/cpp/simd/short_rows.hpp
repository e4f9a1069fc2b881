// Rows of few numbers to columns in registers and back, all columns of as many rows as a register has lanes. Nothing
// but these rows is read or written.
#pragma once

#include "transpose.hpp"

namespace lossk {
namespace {

// In each part, lanes i0 and i1 of a, then lanes i2 and i3 of b.
template <int i0, int i1, int i2, int i3, class V, int... lane>
inline V pick_lanes(V a, V b, sequence<lane...>) {
    constexpr int at[4] = {i0, i1, i2 + lanes<V>, i3 + lanes<V>};
    return shuffle<(lane / 4 * 4 + at[lane % 4])...>(a, b);
}
template <int i0, int i1, int i2, int i3, class V>
inline V pick(V a, V b) {
    return pick_lanes<i0, i1, i2, i3>(a, b, sequence_to<lanes<V>>{});
}

// Numbers in order, n registers of them: part p of register i is the (p n + i)-th.
template <class V, int n>
inline void load_parts(const lane_t<V>* from, V (&r)[n]) {
    for (int i = 0; i < n; ++i) {
        register_part parts[register_parts];
        for (int p = 0; p < register_parts; ++p)
            __builtin_memcpy(&parts[p], from + (p * n + i) * columns<V>, sizeof parts[p]);
        r[i] = join<V>(parts);
    }
}
template <class V, int n>
inline void store_parts(lane_t<V>* to, const V (&r)[n]) {
    for (int i = 0; i < n; ++i) {
        register_part parts[register_parts];
        __builtin_memcpy(parts, &r[i], sizeof parts);
        for (int p = 0; p < register_parts; ++p)
            __builtin_memcpy(to + (p * n + i) * columns<V>, &parts[p], sizeof parts[p]);
    }
}

// Rows of two and three f32, shorter than a part: four rows are two or three parts.
template <class V>
inline void part_rows(V (&r)[2]) {
    const V a = r[0], b = r[1];
    r[0] = pick<0, 2, 0, 2>(a, b);
    r[1] = pick<1, 3, 1, 3>(a, b);
}
template <class V>
inline void join_rows(V (&r)[2]) {
    const V x = r[0], y = r[1];
    r[0] = interleave<0>(x, y, sequence_to<lanes<V>>{});
    r[1] = interleave<2>(x, y, sequence_to<lanes<V>>{});
}
template <class V>
inline void part_rows(V (&r)[3]) {  // x0 y0 z0 x1, y1 z1 x2 y2, z2 x3 y3 z3
    const V xy = pick<2, 3, 1, 2>(r[1], r[2]), yz = pick<1, 2, 0, 1>(r[0], r[1]);
    r[0] = pick<0, 3, 0, 2>(r[0], xy);
    r[1] = pick<0, 2, 1, 3>(yz, xy);
    r[2] = pick<1, 3, 0, 3>(yz, r[2]);
}
template <class V>
inline void join_rows(V (&r)[3]) {
    const V xy = pick<0, 2, 0, 2>(r[0], r[1]), yz = pick<1, 3, 1, 3>(r[1], r[2]), zx = pick<0, 2, 1, 3>(r[2], r[0]);
    r[0] = pick<0, 2, 0, 2>(xy, zx);
    r[1] = pick<0, 2, 1, 3>(yz, xy);
    r[2] = pick<1, 3, 1, 3>(zx, yz);
}

// The columns of rows of `fixed` numbers (0: of n, which is known at run time), group by group: the last group overlaps
// its neighbour where it must.
template <class V, int fixed>
struct short_rows {
    using T = lane_t<V>;
    static constexpr bool within_part = fixed > 0 && fixed < columns<V>;
    static constexpr int group = within_part ? fixed : columns<V>;
    const int n;

    template <class F>
    void each_group(F&& work) const {
        if constexpr (fixed > 0)
            unrolled<(fixed + group - 1) / group>(
                [&](auto i) { work(i * group + group <= fixed ? i * group : fixed - group); });
        else
            for (int k = 0; k < n; k += group) work(k + group <= n ? k : n - group);
    }
    // Calls use(k, r) with columns k .. k + group - 1.
    template <class F>
    void load(const T* from, F&& use) const {
        each_group([&](int k) {
            V r[group];
            if constexpr (within_part) {
                load_parts(from, r);
                part_rows(r);
            } else {
                load_columns<V>(from + k, n, r);
            }
            use(k, r);
        });
    }
    // Calls make(k, r), which fills r with columns k .. k + group - 1.
    template <class F>
    void store(T* to, F&& make) const {
        each_group([&](int k) {
            V r[group];
            make(k, r);
            if constexpr (within_part) {
                join_rows(r);
                store_parts(to, r);
            } else {
                store_columns<V>(to + k, n, r);
            }
        });
    }
};

}  // namespace
}  // namespace lossk
