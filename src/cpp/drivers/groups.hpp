// Arrays piece by piece, and a piece register by register, K at a time: K independent chains hide the latency of
// additions. Where a loop reads f32 only, pieces of f16 and bf16 are widened before it, and narrowed after it.
#pragma once

#include <cstddef>

#include "../simd/narrow.hpp"
#include "../simd/unroll.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

// Formulas that many calls run have loops of their own for 16 bits; others have less code, and go by way of tiles.
template <class Formula>
constexpr bool is_common = requires { Formula::is_common; };

// Short enough for f32 lanes to be summed exactly enough (16 additions a lane).
constexpr index piece = 512;

// A piece of an array as a loop over elements T wants it: where it is, or in a buffer of f32.
template <class T>
class piece_buffer {
    alignas(line_bytes) T buffer_[piece];

public:
    // Are pieces of such arrays in the buffer?
    static bool holds(storage kind) { return sizeof(T) == sizeof(float) && kind != storage::same; }
    // Elements [i, i + n) of the array at p, to read.
    const T* read(storage kind, const void* p, index i, index n) {
        if (!holds(kind)) return static_cast<const T*>(p) + i;
        if constexpr (sizeof(T) == sizeof(float)) widen_tile(kind, p, i, n, buffer_);
        return buffer_;
    }
    // Where to leave results for elements from i on; write() brings n of them to the array.
    T* place(storage kind, void* p, index i) { return holds(kind) ? buffer_ : static_cast<T*>(p) + i; }
    void write(storage kind, void* p, index i, index n) const {
        if constexpr (sizeof(T) == sizeof(float))
            if (holds(kind)) narrow_tile(kind, buffer_, n, p, i);
    }
};

// Zeros, to elements [begin, end) of the array at p.
template <class T>
inline void clear_elements(storage kind, void* p, index begin, index end) {
    const index bytes = kind == storage::same ? static_cast<index>(sizeof(T)) : 2;
    __builtin_memset(static_cast<char*>(p) + begin * bytes, 0, static_cast<std::size_t>((end - begin) * bytes));
}

// Calls work(i, k, reach) for every register of n elements: i its first element, k < K the sum it may be added to. K
// registers at a time: k is constant there, so that group_sums stay in registers.
template <class V, int K, class F>
inline void each_in_groups(index n, F&& work) {
    constexpr int L = lanes<V>;
    const index grouped = n - n % (K * L);
    for (index j = 0; j < grouped; j += K * L) unrolled<K>([&](auto k) { work(j + k * L, k, whole_register<V>{}); });
    int k = 0;
    each_register<V>(n - grouped, [&](index j, auto reach) { work(grouped + j, k++, reach); });
}

// Calls work(i, n) for every piece of [begin, end): i its first element, n its length.
template <class F>
inline void each_piece(index begin, index end, index length, F&& work) {
    for (index i = begin; i < end; i += length) work(i, smaller(length, end - i));
}
template <class F>
inline void each_piece(index begin, index end, F&& work) {
    each_piece(begin, end, piece, work);
}

}  // namespace
}  // namespace lossk
