// Squared epsilon-insensitive: max(0, |r| - epsilon)^2, with r = z - y.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct squared_epsilon_insensitive {
    static constexpr const char* name = "squared_epsilon_insensitive";
    static constexpr int parameters = 1;
    static constexpr bool streams_apart = true;

    T epsilon;
    explicit squared_epsilon_insensitive(const double* p) : epsilon(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        const V slack = abs(r) - epsilon;
        const V active = max(T(0), slack);
        return {active * active, copysign(active + active, r), keep<V>(slack > T(0), splat<V>(2))};
    }
};

}  // namespace
}  // namespace lossk
