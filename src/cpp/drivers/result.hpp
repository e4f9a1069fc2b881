// Where a result goes, piece by piece and in order: to its array as it is, rounded to 16 bits, or streamed.
#pragma once

#include "groups.hpp"

namespace lossk {
namespace {

template <class T>
class result_array {
    const storage kind_;
    void* const array_;
    const bool streaming_;
    piece_buffer<T> buffer_;
    line_stream<T, piece> stream_;

    T* at(index i) const { return static_cast<T*>(array_) + i; }

public:
    // Of elements from `begin` on. Streams what is not rounded, and is whole in memory when the object is gone.
    result_array(storage kind, void* array, index begin, bool streaming)
        : kind_(kind), array_(array), streaming_(streaming), stream_(streaming ? at(begin) : nullptr) {}
    ~result_array() {
        if (streaming_) stream_fence();
    }
    result_array(const result_array&) = delete;

    // Where to leave elements from i on, up to a piece of them; write() tells how many they are.
    T* place(index i) { return streaming_ ? stream_.here() : buffer_.place(kind_, array_, i); }
    void write(index i, index n) { streaming_ ? stream_.push(n) : buffer_.write(kind_, array_, i, n); }

    // Zeros.
    void clear(index begin, index end) {
        streaming_ ? stream_.push_zeros(end - begin) : clear_elements<T>(kind_, array_, begin, end);
    }

    // Another value for an element that was written.
    void change(index i, double x) {
        T* const p = streaming_ ? stream_.pushed(at(i)) : buffer_.place(kind_, array_, i);
        *p = static_cast<T>(x);
        if (!streaming_) buffer_.write(kind_, array_, i, 1);
    }
};

}  // namespace
}  // namespace lossk
