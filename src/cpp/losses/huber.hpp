// Huber: r^2/2 where |r| <= delta, delta*(|r| - delta/2) beyond, with r = z - y.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct huber {
    static constexpr const char* name = "huber";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    T delta;
    explicit huber(const double* p) : delta(static_cast<T>(p[0])) {}

    // With c = r clipped to [-delta, delta], both branches are c*(r - c/2), and c is the gradient.
    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        const V c = max(-delta, min(delta, r));
        return {c * (r - c * T(0.5)), c, keep<V>(abs(r) <= delta, splat<V>(1))};
    }
};

}  // namespace
}  // namespace lossk
