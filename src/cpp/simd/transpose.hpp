// Transposes L registers of L lanes: lane j of register k becomes lane k of register j.
#pragma once

#include "vec.hpp"

namespace lossk {
namespace {

template <int... lane>
struct lane_list {};
template <int n, int... lane>
struct count_up : count_up<n - 1, n - 1, lane...> {};
template <int... lane>
struct count_up<0, lane...> {
    using type = lane_list<lane...>;
};

// Of a 2x2 arrangement of blocks of d lanes, (a; b), swaps the blocks off the diagonal.
template <int d, class V, int... lane>
inline void swap_blocks(V& a, V& b, lane_list<lane...>) {
    const V top = __builtin_shufflevector(a, b, ((lane & d) ? lanes<V> + lane - d : lane)...);
    const V bottom = __builtin_shufflevector(a, b, ((lane & d) ? lanes<V> + lane : lane + d)...);
    a = top;
    b = bottom;
}

// Blocks of half the size at each step, until they are single lanes.
template <int d, class V>
inline void transpose_blocks(V (&r)[lanes<V>]) {
    if constexpr (d > 0) {
#pragma GCC unroll 16
        for (int i = 0; i < lanes<V>; ++i)
            if ((i & d) == 0) swap_blocks<d>(r[i], r[i + d], typename count_up<lanes<V>>::type{});
        transpose_blocks<d / 2>(r);
    }
}

template <class V>
inline void transpose(V (&r)[lanes<V>]) {
    transpose_blocks<lanes<V> / 2>(r);
}

}  // namespace
}  // namespace lossk
