// One pass over pointwise arrays: value, gradient and second derivative of a formula for inputs of any length.
#pragma once

#include "../losses/point.hpp"
#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// What a formula may declare beside its call: a third input, the lanes whose inputs are outside its domain, and that
// it takes a few instructions only, so that its loop is unrolled.
template <class Formula>
constexpr int inputs_of() {
    if constexpr (requires { Formula::inputs; })
        return Formula::inputs;
    else
        return 2;
}
template <class Formula>
constexpr bool has_domain = requires { Formula::domain; };
template <class Formula>
constexpr bool is_short = requires { Formula::is_short; };

// The arrays of a piece, from its first element on.
template <class T>
struct pointwise_piece {
    const T *z, *y, *x, *w;
    T *each, *g, *h;
};

// The inputs of a piece as arithmetic wants them: where they are, widened, or repeated.
template <class T, int inputs>
class pointwise_inputs {
    piece_buffer<T> z_, y_;
    alignas(line_bytes) T repeated_[inputs == 3 ? piece : 1];

    const T* third(const pointwise_args& a, index i, index n) {
        const T* x = static_cast<const T*>(a.x);
        if (a.x_period == 0) return x + i;
        for (index j = 0, k = i % a.x_period; j < n; ++j, k = k + 1 == a.x_period ? 0 : k + 1) repeated_[j] = x[k];
        return repeated_;
    }

public:
    pointwise_piece<T> read(const pointwise_args& a, index i, index n) {
        pointwise_piece<T> at{};
        at.z = z_.read(a.kind, a.z, i, n);
        at.y = y_.read(a.kind, a.y, i, n);
        if constexpr (inputs == 3) at.x = third(a, i, n);
        return at;
    }
};

// Calls a member of the formula, `of`, on a register of as many inputs as it has.
template <int inputs, class V, class T, class Reach, class F>
inline auto on_inputs(const pointwise_piece<T>& at, index j, Reach reach, T fill, F&& of) {
    const V z = reach.load(at.z + j, fill), y = reach.load(at.y + j, fill);
    if constexpr (inputs == 3)
        return of(z, y, reach.load(at.x + j, fill));
    else
        return of(z, y);
}

template <class Formula, class T, verb what>
class pointwise_driver {
    using V = vec<T>;
    static constexpr int K = 128 / register_bytes;
    static constexpr int inputs = inputs_of<Formula>();

    const pointwise_args& a;
    const Formula formula{a.parameters};
    lane_sum<T, K> total{};
    pointwise_inputs<T, inputs> in;

    // A function of its own, with copies of its own: what the loop needs stays in registers, whatever is stored.
    // Plain: a short formula, neither weights nor single values.
    template <bool plain>
    [[gnu::noinline]] static void run_loop(const Formula formula, const pointwise_piece<T> at, index n, T scale,
                                           lane_sum<T, K>& total) {
        V sum[K]{};
        const auto step = [&](index j, auto k, auto reach) {
            point<V> p = on_inputs<inputs, V>(at, j, reach, T(1), formula);
            if constexpr (!plain) {
                const V w = at.w ? reach.load(at.w + j, T(0)) : splat<V>(1);
                p = {p.value * w, p.grad * w, p.hess * w};
                if (wants_value(what) && at.each) reach.store(at.each + j, p.value);
            }
            if constexpr (wants_value(what)) sum[k] += reach.mask(p.value);
            if constexpr (wants_grad(what)) reach.store(at.g + j, p.grad * scale);
            if constexpr (wants_hess(what)) reach.store(at.h + j, p.hess * scale);
        };
        if constexpr (plain)
            each_in_groups<V, K>(n, step);
        else
            each_in_turn<V, K>(n, step);
        if constexpr (wants_value(what)) {
            unrolled<K>([&](auto k) { total.add(k, sum[k]); });
            total.flush();
        }
    }

    // Elements [i, i + n), derivatives to g and h.
    void run_piece(index i, index n, T* g, T* h) {
        pointwise_piece<T> at = in.read(a, i, n);
        if (a.w) at.w = static_cast<const T*>(a.w) + i;
        if (a.each) at.each = static_cast<T*>(a.each) + i;
        at.g = g;
        at.h = h;
        (a.w || a.each ? run_loop<false> : run_loop<is_short<Formula>>)(formula, at, n, static_cast<T>(a.scale), total);
    }

    void run_plainly(index begin, index end) {
        piece_buffer<T> g, h;
        each_piece(begin, end, [&](index i, index n) {
            run_piece(i, n, g.place(a.kind, a.g, i), h.place(a.kind, a.h, i));
            if constexpr (wants_grad(what)) g.write(a.kind, a.g, i, n);
            if constexpr (wants_hess(what)) h.write(a.kind, a.h, i, n);
        });
    }

    void run_streaming(index begin, index end) {
        line_stream<T, piece> g(static_cast<T*>(a.g) + begin), h(static_cast<T*>(wants_hess(what) ? a.h : a.g) + begin);
        each_piece(begin, end, [&](index i, index n) {
            run_piece(i, n, g.here(), h.here());
            g.push(n);
            if constexpr (wants_hess(what)) h.push(n);
        });
        stream_fence();
    }

public:
    explicit pointwise_driver(const pointwise_args& args) : a(args) {}

    double run(index begin, index end) {
        wants_grad(what) && a.streaming ? run_streaming(begin, end) : run_plainly(begin, end);
        return wants_value(what) ? total.result() : 0.0;
    }
};

template <class Formula, class T, verb what>
double pointwise(const pointwise_args& a, index begin, index end) {
    return pointwise_driver<Formula, T, what>(a).run(begin, end);
}

template <class Formula, class T>
index first_outside(const pointwise_args& a, index begin, index end) {
    using V = vec<T>;
    constexpr int inputs = inputs_of<Formula>();
    const Formula formula{a.parameters};
    pointwise_inputs<T, inputs> in;
    for (index i = begin; i < end; i += piece) {
        const index n = smaller(piece, end - i);
        const pointwise_piece<T> at = in.read(a, i, n);
        bits<V> anywhere{};
        each_register<V>(n, [&](index j, auto reach) {
            const auto outside = [&](auto... x) { return from_bits<V>(formula.outside(x...)); };
            anywhere |= as_bits(reach.mask(on_inputs<inputs, V>(at, j, reach, T(0), outside)));
        });
        if (!any<V>(anywhere)) continue;
        for (index j = 0; j < n; ++j) {
            const part_of_register<V> one{1};
            const auto outside = [&](auto... x) { return formula.outside(x...); };
            if (on_inputs<inputs, V>(at, j, one, T(0), outside)[0]) return i + j;
        }
    }
    return -1;
}

}  // namespace
}  // namespace lossk
