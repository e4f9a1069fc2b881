// A function of x, its derivative, or a cotangent times that, over arrays of any length.
#pragma once

#include "groups.hpp"

namespace lossk {
namespace {

template <class Formula, class T, map what>
struct activation_driver {
    using V = vec<T>;

    const activation_args& a;
    const Formula formula{a.parameters};
    piece_buffer<T> x_room, c_room, out_room;

    explicit activation_driver(const activation_args& args) : a(args) {}

    // A function of its own, with copies of its own: the formula stays in registers, whatever is stored.
    [[gnu::noinline]] static void run_loop(const Formula formula, const T* x, const T* c, index n, T* out) {
        each_register<V>(n, [&](index j, auto reach) {
            const V at = reach.load(x + j);
            if constexpr (what == map::value)
                reach.store(out + j, formula.value(at));
            else if constexpr (what == map::derivative)
                reach.store(out + j, formula.derivative(at));
            else
                reach.store(out + j, formula.derivative(at) * reach.load(c + j));
        });
    }

    // Elements [i, i + n), results to out.
    void run_piece(index i, index n, T* out) {
        const T* x = x_room.read(a.kind, a.x, i, n);
        const T* c = what == map::vjp ? c_room.read(a.kind, a.c, i, n) : x;
        run_loop(formula, x, c, n, out);
    }

    void run(index begin, index end) {
        each_piece(begin, end, [&](index i, index n) {
            run_piece(i, n, out_room.place(a.kind, a.out, i));
            out_room.write(a.kind, a.out, i, n);
        });
    }

    void run_streaming(index begin, index end) {
        line_stream<T, piece> out(static_cast<T*>(a.out) + begin);
        each_piece(begin, end, [&](index i, index n) {
            run_piece(i, n, out.here());
            out.push(n);
        });
        stream_fence();
    }
};

template <class Formula, class T, map what>
void activate(const activation_args& a, index begin, index end) {
    activation_driver<Formula, T, what> driver(a);
    a.streaming ? driver.run_streaming(begin, end) : driver.run(begin, end);
}

}  // namespace
}  // namespace lossk
