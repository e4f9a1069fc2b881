// Blocks in and out of memory: prefetching, and stores that go past the caches.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

constexpr int line_bytes = 64;

inline index smaller(index a, index b) { return a < b ? a : b; }

// How much of a register an array fills: all of it, or the first n lanes at its end. A loop over an array runs the same
// formula on both, so that a tail is never rounded differently from a middle.
template <class V>
struct whole_register {
    V load(const lane_t<V>* p, lane_t<V> = 0) const { return lossk::load<V>(p); }
    void store(lane_t<V>* p, V v) const { lossk::store(p, v); }
    V mask(V v) const { return v; }
};
template <class V>
struct part_of_register {
    int n;
    V load(const lane_t<V>* p, lane_t<V> fill = 0) const { return load_first<V>(p, n, fill); }
    void store(lane_t<V>* p, V v) const { store_first(p, v, n); }
    V mask(V v) const { return keep(first_lanes<V>(n), v); }
};

// Calls work(i, reach) for every register of n elements, i its first element.
template <class V, class F>
inline void each_register(index n, F&& work) {
    constexpr int L = lanes<V>;
    index i = 0;
    for (; i + L <= n; i += L) work(i, whole_register<V>{});
    if (i < n) work(i, part_of_register<V>{static_cast<int>(n - i)});
}

// Asks for the cache line `distance` elements behind p; harmless past the end of the array.
template <class T>
inline void prefetch(const T* p, index distance) {
    __builtin_prefetch(reinterpret_cast<const char*>(p) + distance * static_cast<index>(sizeof(T)));
}

template <class T>
inline bool is_line_aligned(const T* p) {
    return reinterpret_cast<std::uintptr_t>(p) % line_bytes == 0;
}

// n elements from an L1-resident buffer to `to`, past the caches.
// Whole cache lines are stored by registers; what lies before and behind them by 16 bytes, so that the pieces which
// neighbouring calls leave of one line meet in the write-combining buffer; what is not 16-byte aligned, plainly.
template <class T>
inline void stream_block(T* to, const T* from, index n) {
    using V = vec<T>;
    const char* source = reinterpret_cast<const char*>(from);
    char* target = reinterpret_cast<char*>(to);
    index bytes = n * static_cast<index>(sizeof(T));
    const auto misaligned = [&](int by) {
        return reinterpret_cast<std::uintptr_t>(target) % static_cast<unsigned>(by) != 0;
    };
    const auto advance = [&](index by) { source += by, target += by, bytes -= by; };

    while (bytes > 0 && misaligned(16)) __builtin_memcpy(target, source, sizeof(T)), advance(sizeof(T));
    while (bytes >= 16 && misaligned(line_bytes)) store_streaming_16(target, source), advance(16);
    while (bytes >= register_bytes) {
        store_streaming(reinterpret_cast<T*>(target), load<V>(reinterpret_cast<const T*>(source)));
        advance(register_bytes);
    }
    while (bytes >= 16) store_streaming_16(target, source), advance(16);
    while (bytes > 0) __builtin_memcpy(target, source, sizeof(T)), advance(sizeof(T));
}

}  // namespace
}  // namespace lossk
