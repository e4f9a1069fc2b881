// Leaky rectifier: x where x > 0, slope x elsewhere, 0.5 ULP; the derivative is 1 or slope.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct leaky_relu_unit {
    static constexpr const char* name = "leaky_relu";
    static constexpr int parameters = 1;
    static constexpr bool is_common = true, is_short = true;

    T slope;
    explicit leaky_relu_unit(const double* p) : slope(static_cast<T>(p[0])) {}

    template <class V>
    V value(V x) const {
        return choose<V>(x > T(0), x, x * slope);
    }

    template <class V>
    V derivative(V x) const {
        const V either = choose<V>(x > T(0), splat<V>(T(1)), splat<V>(slope));
        return choose<V>(x == x, either, x);
    }
};

}  // namespace
}  // namespace lossk
