// The inputs of pointwise formulas: what a formula may take, how its loop reads it, and what is outside its domain.
#pragma once

#include "../losses/domain.hpp"
#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

// What a formula may declare besides its call and its domain: a third input; that it takes a few instructions only, so
// that the way to and from memory counts; that a loop of its own streams gradients, as a look at how they are stored,
// for each group, would cost 4 % of its instructions or more; that it branches, so that nothing is gained by several
// registers side by side; that it is long or asked for seldom, so that its code is kept short: one loop, a register at
// a time; and itself without branches, for parameters that are usual.
template <class Formula>
constexpr int inputs_of() {
    if constexpr (requires { Formula::inputs; })
        return Formula::inputs;
    else
        return 2;
}
template <class Formula>
constexpr bool is_short = requires { Formula::is_short; };
template <class Formula>
constexpr bool streams_apart = is_short<Formula> || requires { Formula::streams_apart; };
template <class Formula>
constexpr bool is_long = requires { Formula::is_long; };
template <class Formula>
constexpr bool branches = requires { Formula::branches; };

// The arrays of a piece, from its first element on.
template <class E, class T = arithmetic<E>>
struct pointwise_piece {
    const E *z, *y;
    const T *x, *w;
    T* each;
    E *g, *h;

    // The same from the j-th element on.
    pointwise_piece from(index j) const {
        const auto at = [&](auto* p) { return p ? p + j : nullptr; };
        return {at(z), at(y), at(x), at(w), at(each), at(g), at(h)};
    }
};

// A copy of a piece's last elements that fills a register, with ones where it has none.
template <class E, class T = arithmetic<E>>
class register_copy {
    static constexpr int L = lanes<vec<T>>;
    E z_[L], y_[L], g_[L], h_[L];
    T x_[L], w_[L], each_[L];

    template <class A>
    static A* fill(A* to, const A* from, int n) {
        const vec<T> ones = splat<vec<T>>(1);
        store(to, ones);
        __builtin_memcpy(to, from, static_cast<std::size_t>(n) * sizeof(A));
        return to;
    }
    template <class A>
    static void copy_back(const A* from, A* to, int n) {
        if (to) __builtin_memcpy(to, from, static_cast<std::size_t>(n) * sizeof(A));
    }

public:
    [[gnu::noinline]] pointwise_piece<E> take(const pointwise_piece<E>& at, int n) {
        return {fill(z_, at.z, n),
                fill(y_, at.y, n),
                at.x ? fill(x_, at.x, n) : nullptr,
                at.w ? fill(w_, at.w, n) : nullptr,
                at.each ? each_ : nullptr,
                g_,
                h_};
    }
    [[gnu::noinline]] void give(const pointwise_piece<E>& at, int n) const {
        copy_back(each_, at.each, n);
        copy_back(g_, at.g, n);
        copy_back(h_, at.h, n);
    }
};

// The inputs of a piece as the loop wants them: where they are, widened, or repeated.
template <class E>
class pointwise_inputs {
    using T = arithmetic<E>;
    piece_buffer<E> z_, y_;
    alignas(line_bytes) T repeated_[piece], known_[piece];

    const T* third(const pointwise_args& a, index i, index n) {
        const T* x = static_cast<const T*>(a.x);
        if (a.x_period == 0) return x + i;
        for (index j = 0, k = i % a.x_period; j < n; ++j, k = k + 1 == a.x_period ? 0 : k + 1) repeated_[j] = x[k];
        return repeated_;
    }

    // 0 where the target is NaN, if those are ignored.
    const T* weights(const pointwise_args& a, const E* y, index i, index n) {
        const T* w = a.w ? static_cast<const T*>(a.w) + i : nullptr;
        if (!a.ignore_nan) return w;
        each_register<vec<T>>(n, [&](index j, auto reach) {
            const vec<T> at = reach.load(y + j);
            reach.store(known_ + j, keep<vec<T>>(at == at, w ? reach.load(w + j) : splat<vec<T>>(1)));
        });
        return known_;
    }

public:
    // At most a piece of elements where they do not stay where they are.
    pointwise_piece<E> read(const pointwise_args& a, int inputs, index i, index n) {
        pointwise_piece<E> at{};
        at.z = z_.read(a.kind, a.z, i, n);
        at.y = y_.read(a.kind, a.y, i, n);
        if (inputs == 3) at.x = third(a, i, n);
        at.w = weights(a, at.y, i, n);
        return at;
    }
};

// The weights of the samples [begin, end) whose target is not NaN, added up as `sum` adds.
template <class T>
double known_weight(const pointwise_args& a, index begin, index end) {
    constexpr int K = 128 / register_bytes;
    pointwise_inputs<T> in;
    lane_sum<T, K> total;
    each_piece(begin, end, [&](index i, index n) {
        const T* w = in.read(a, 2, i, n).w;
        int k = 0;
        each_register<vec<T>>(n, [&](index j, auto reach) {
            total.add(k, reach.load(w + j));
            if (++k == K) total.flush(), k = 0;
        });
    });
    return total.result();
}

// Calls a member of the formula, `of`, on a register of as many inputs as it has.
template <int inputs, class V, class E, class Reach, class F>
inline auto on_inputs(const pointwise_piece<E>& at, index j, Reach reach, lane_t<V> fill, F&& of) {
    const V z = reach.load(at.z + j, fill), y = reach.load(at.y + j, fill);
    if constexpr (inputs == 3)
        return of(z, y, reach.load(at.x + j, fill));
    else
        return of(z, y);
}

// The first of the elements [begin, end) that count and whose inputs are outside the domain; -1: none.
template <class Formula, class T>
index first_outside(const pointwise_args& args, index begin, index end) {
    using V = vec<T>;
    constexpr int inputs = inputs_of<Formula>();
    pointwise_args a = args;
    if constexpr (has_domain_of_targets<Formula, V>) a.z = a.y;  // nothing else is looked at
    const Formula formula{a.parameters};
    const auto outside = [&](auto... x) { return from_bits<V>(outside_of(formula, x...)); };
    pointwise_inputs<T> in;
    for (index i = begin; i < end; i += piece) {
        const index n = smaller(piece, end - i);
        const pointwise_piece<T> at = in.read(a, inputs, i, n);
        bits<V> anywhere{};
        each_register<V>(n, [&](index j, auto reach) {
            anywhere |= as_bits(reach.mask(on_inputs<inputs, V>(at, j, reach, T(0), outside)));
        });
        if (!any<V>(anywhere)) continue;
        for (index j = 0; j < n; ++j) {
            const part_of_register<V> one{1};
            const bool counts = !at.w || at.w[j] != T(0);
            if (counts && as_bits(on_inputs<inputs, V>(at, j, one, T(0), outside))[0]) return i + j;
        }
    }
    return -1;
}

}  // namespace
}  // namespace lossk
