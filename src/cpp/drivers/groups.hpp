// Arrays piece by piece, and a piece register by register, K at a time: K independent chains hide the latency of
// additions. Pieces of f16 and bf16 are widened on their way in, and narrowed on their way out.
#pragma once

#include <cstddef>

#include "../simd/narrow.hpp"
#include "../simd/unroll.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

// Short enough for f32 lanes to be summed exactly enough (16 additions a lane).
constexpr index piece = 512;

// A piece of an array as arithmetic wants it: where it is, or in a buffer of f32.
template <class T>
class piece_buffer {
    alignas(line_bytes) T room_[piece];

    static bool is_narrow(storage kind) { return sizeof(T) == sizeof(float) && kind != storage::same; }

public:
    // Elements [i, i + n) of the array at p, to read.
    const T* read(storage kind, const void* p, index i, index n) {
        if (!is_narrow(kind)) return static_cast<const T*>(p) + i;
        if constexpr (sizeof(T) == sizeof(float)) widen_tile(kind, p, i, n, room_);
        return room_;
    }
    // Where to leave results for elements from i on; write() brings n of them to the array.
    T* place(storage kind, void* p, index i) { return is_narrow(kind) ? room_ : static_cast<T*>(p) + i; }
    void write(storage kind, void* p, index i, index n) const {
        if constexpr (sizeof(T) == sizeof(float))
            if (is_narrow(kind)) narrow_tile(kind, room_, n, p, i);
    }
};

// Zeros, to elements [begin, end) of the array at p.
template <class T>
inline void clear_elements(storage kind, void* p, index begin, index end) {
    const index bytes = kind == storage::same ? static_cast<index>(sizeof(T)) : 2;
    __builtin_memset(static_cast<char*>(p) + begin * bytes, 0, static_cast<std::size_t>((end - begin) * bytes));
}

// Calls work(i, k, reach) for every register of n elements: i its first element, k < K the sum it may be added to.
template <class V, int K, class F>
inline void each_in_turn(index n, F&& work) {
    int k = 0;
    each_register<V>(n, [&](index i, auto reach) { work(i, k++ % K, reach); });
}

// The same for short work, K registers at a time: k is constant, so that the sums stay in registers.
template <class V, int K, class F>
inline void each_in_groups(index n, F&& work) {
    constexpr int L = lanes<V>;
    const index grouped = n - n % (K * L);
    for (index j = 0; j < grouped; j += K * L) unrolled<K>([&](auto k) { work(j + k * L, k, whole_register<V>{}); });
    each_register<V>(n - grouped, [&](index j, auto reach) { work(grouped + j, constant<0>{}, reach); });
}

// Calls work(i, n) for every piece of [begin, end): i its first element, n its length.
template <class F>
inline void each_piece(index begin, index end, F&& work) {
    for (index i = begin; i < end; i += piece) work(i, smaller(piece, end - i));
}

}  // namespace
}  // namespace lossk
