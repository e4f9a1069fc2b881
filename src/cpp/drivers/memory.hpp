// Arrays register by register, tails included; prefetching; streaming (non-temporal) stores.
#pragma once

#include "../base/types.hpp"
#include "../simd/narrow.hpp"

namespace lossk {
namespace {

constexpr int line_bytes = 64;

inline index smaller(index a, index b) { return a < b ? a : b; }

// How much of a register an array fills: all of it, or the first n lanes at its end. A loop over an array runs the same
// formula on both, so that a tail is never rounded differently from a middle. `halved`: moved by load_by_halves and
// store_by_halves, which pays for lines that are probably not in L1.
template <class V, bool halved = false>
struct whole_register {
    template <class E>
    V load(const E* p, lane_t<V> = 0) const {
        if constexpr (halved)
            return load_by_halves<V>(p);
        else
            return lossk::load<V>(p);
    }
    template <class E>
    void store(E* p, V v) const {
        if constexpr (halved)
            store_by_halves(p, v);
        else
            lossk::store(p, v);
    }
    V mask(V v) const { return v; }
};
template <class V>
struct part_of_register {
    int n;
    template <class E>
    V load(const E* p, lane_t<V> fill = 0) const {
        return load_first<V>(p, n, fill);
    }
    template <class E>
    void store(E* p, V v) const {
        store_first(p, v, n);
    }
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

// Asks for the cache line that lies `bytes` behind p, as near as `locality` says: 2 is L2, 3 is L1. Harmless past the
// end of an array. The empty asm keeps the call: GCC takes a function that only prefetches for pure, and drops calls
// that it has not inlined yet.
template <int locality>
inline void prefetch_line(const void* p, index bytes) {
    asm volatile("");
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(bytes);
    __builtin_prefetch(reinterpret_cast<const void*>(at), 0, locality);
}

// Asks for the cache line `distance` elements behind p, into L2: what is asked for into L1 waits for one of the few
// buffers that L1 has for its misses, while those of L2 keep the memory busy.
template <class T>
inline void prefetch(const T* p, index distance) {
    prefetch_line<2>(p, distance * static_cast<index>(sizeof(T)));
}

// The same, into L1: for few lines, needed soon.
template <class T>
inline void prefetch_to_l1(const T* p, index distance) {
    prefetch_line<3>(p, distance * static_cast<index>(sizeof(T)));
}

// How many bytes ahead of a store its line is asked for: more than what a core writes in the time that memory takes to
// answer, as it does not write all the time.
constexpr index write_ahead = 6144;

// Asks for the lines of the n elements that lie `distance` bytes behind p, which will be written. Cores that find them
// elsewhere than in their own caches would otherwise wait for each, as registers of stores are few. They come into L2,
// and as nobody else has them, the store need not ask again; asked for into L1 to be written, they hold up its other
// misses.
template <index n, class T>
inline void prefetch_to_write(T* p, index distance) {
    for (index at = 0; at < n * static_cast<index>(sizeof(T)); at += line_bytes)
        prefetch(reinterpret_cast<char*>(p), distance + at);
}

// How many elements p is past the last address that is a multiple of n elements' bytes; and past the start of its line.
template <index n, class T>
inline index past_multiple(const T* p) {
    return static_cast<index>(reinterpret_cast<std::uintptr_t>(p) / sizeof(T) % n);
}
template <class T>
inline index past_line(const T* p) {
    return past_multiple<line_bytes / static_cast<index>(sizeof(T))>(p);
}

// How many elements lie before the first start of a line from p on.
template <class T>
inline index to_line(const T* p) {
    constexpr index line = line_bytes / static_cast<index>(sizeof(T));
    return (line - past_line(p)) % line;
}

// How a loop may stream whole registers to an array that begins at p; `usual`: not at all.
inline store_kind streaming_to(const void* p) {
    const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(p);
    return at % register_bytes == 0 ? store_kind::streaming
           : at % 16 == 0           ? store_kind::streaming_by_16
                                    : store_kind::cached;
}

// A contiguous array streamed in order: pieces are left at here(), and whole cache lines of them go out at once. What a
// piece leaves of a line waits for the next piece, as half a line costs memory as much as many whole.
template <class T, index largest_piece>
class line_stream {
    using V = vec<float>;  // what bytes are moved by
    static constexpr index line = line_bytes / static_cast<index>(sizeof(T));
    static constexpr index step = register_bytes / static_cast<index>(sizeof(T));

    alignas(line_bytes) T buffer_[largest_piece + 2 * line];
    T* to_ = nullptr;   // a line's start, or what would be if the array began earlier
    index own_ = 0;     // the buffer's first element that is the array's
    index filled_ = 0;  // one past its last

    static float* bytes(T* p) { return reinterpret_cast<float*>(p); }
    void copy_plainly(index begin, index end) const {
        for (index i = begin; i < end; ++i) to_[i] = buffer_[i];
    }

public:
    explicit line_stream(T* to) {
        own_ = filled_ = past_line(to);
        to_ = to - own_;
    }
    line_stream(const line_stream&) = delete;
    ~line_stream() { copy_plainly(own_, filled_); }

    // A buffer for the next piece; push tells how long it has become.
    T* here() { return buffer_ + filled_; }
    [[gnu::noinline]] void push(index n) {
        filled_ += n;
        const index whole = filled_ / line * line;
        index i = 0;
        if (own_ > 0 && whole > 0) {  // the array begins within a line
            copy_plainly(own_, line);
            own_ = 0;
            i = line;
        }
        for (; i < whole; i += step) store_streaming(bytes(to_ + i), load<V>(bytes(buffer_ + i)));
        for (index k = 0; k < line; k += step) store(bytes(buffer_ + k), load<V>(bytes(buffer_ + whole + k)));
        to_ += whole;
        filled_ -= whole;
    }
    // Any number of zeros, of which whole lines need no buffer.
    [[gnu::noinline]] void push_zeros(index n) {
        const auto few = [&](index count) {
            __builtin_memset(here(), 0, static_cast<std::size_t>(count) * sizeof(T));
            push(count);
        };
        const index head = smaller(n, (line - filled_) % line), whole = (n - head) / line * line;
        few(head);
        for (index i = 0; i < whole; i += step) store_streaming(bytes(to_ + i), V{});
        to_ += whole;
        few(n - head - whole);
    }
    // Where the array's element at p is once it was pushed: there, or still here.
    T* pushed(T* p) { return p < to_ ? p : buffer_ + (p - to_); }
};

}  // namespace
}  // namespace lossk
