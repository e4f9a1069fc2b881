// Epsilon-insensitive: max(0, |r| - epsilon), with r = z - y; the gradient is sign(r) where that is strictly positive.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct epsilon_insensitive {
    static constexpr const char* name = "epsilon_insensitive";
    static constexpr int parameters = 1;
    static constexpr bool streams_apart = true;

    T epsilon;
    explicit epsilon_insensitive(const double* p) : epsilon(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        const V slack = abs(r) - epsilon;
        return {max(T(0), slack), keep<V>(slack > T(0), copysign(splat<V>(1), r)), V{}};
    }
};

}  // namespace
}  // namespace lossk
