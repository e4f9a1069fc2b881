// Blocks in and out of memory: prefetching, and stores that go past the caches.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

constexpr int line_bytes = 64;

inline index smaller(index a, index b) {
    return a < b ? a : b;
}

// Asks for the cache line `distance` elements behind p; harmless past the end of the array.
template <class T>
inline void prefetch(const T* p, index distance) {
    __builtin_prefetch(reinterpret_cast<const char*>(p) + distance * static_cast<index>(sizeof(T)));
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
    const auto misaligned = [&](int by) { return reinterpret_cast<std::uintptr_t>(target) % static_cast<unsigned>(by) != 0; };
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
