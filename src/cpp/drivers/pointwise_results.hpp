// Where the derivatives of pointwise losses go, piece by piece: compiled once for all formulas.
#pragma once

#include "groups.hpp"

namespace lossk {
namespace {

// Makes the derivatives of elements [i, i + n), at g and h. `driver` is what it belongs to.
template <class E>
using piece_maker = void (*)(void* driver, index i, index n, E* g, E* h);

template <class E>
void each_result_plainly(const pointwise_args& a, index begin, index end, bool hess, piece_maker<E> make,
                         void* driver) {
    piece_buffer<E> g, h;
    const bool whole = !g.holds(a.kind) && a.x_period == 0 && !a.ignore_nan;
    each_piece(begin, end, whole ? end - begin : piece, [&](index i, index n) {
        make(driver, i, n, a.g ? g.place(a.kind, a.g, i) : nullptr, hess ? h.place(a.kind, a.h, i) : nullptr);
        if (a.g) g.write(a.kind, a.g, i, n);
        if (hess) h.write(a.kind, a.h, i, n);
    });
}

template <class E>
void each_result_streamed(const pointwise_args& a, index begin, index end, bool hess, piece_maker<E> make,
                          void* driver) {
    line_stream<E, piece> g(static_cast<E*>(a.g) + begin), h(static_cast<E*>(hess ? a.h : a.g) + begin);
    each_piece(begin, end, [&](index i, index n) {
        make(driver, i, n, g.here(), h.here());
        g.push(n);
        if (hess) h.push(n);
    });
    stream_fence();
}

// Calls make for the pieces of [begin, end), and brings what it leaves to memory. A loop that streams has left it
// there.
template <class E>
void each_result(const pointwise_args& a, index begin, index end, bool hess, bool loop_streams, piece_maker<E> make,
                 void* driver) {
    if (a.g && a.streaming && !loop_streams && !piece_buffer<E>::holds(a.kind))
        return each_result_streamed<E>(a, begin, end, hess, make, driver);
    each_result_plainly<E>(a, begin, end, hess, make, driver);
    if (loop_streams) stream_fence();
}

}  // namespace
}  // namespace lossk
