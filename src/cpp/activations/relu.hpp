// Rectifier: max(0, x), exact; the derivative is 1 where x > 0, 0 elsewhere.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct relu_unit {
    static constexpr const char* name = "relu";
    static constexpr int parameters = 0;
    static constexpr bool is_common = true, is_short = true;

    explicit relu_unit(const double*) {}

    template <class V>
    V value(V x) const {
        return max(T(0), x);
    }

    template <class V>
    V derivative(V x) const {
        return choose<V>(x == x, keep<V>(x > T(0), splat<V>(T(1))), x);
    }
};

}  // namespace
}  // namespace lossk
