// 0 where |x| <= threshold, elsewhere x less `taken` of its size: Softshrink with taken = threshold, Hardshrink with 0.
// 0.5 ULP; the derivative is 0 or 1.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct shrink_unit {
    static constexpr const char* name = "shrink";
    static constexpr int parameters = 2;

    T threshold, taken;
    explicit shrink_unit(const double* p) : threshold(static_cast<T>(p[0])), taken(static_cast<T>(p[1])) {}

    template <class V>
    V value(V x) const {
        return choose<V>(abs(x) <= threshold, V{}, x - copysign(splat<V>(taken), x));
    }

    template <class V>
    V derivative(V x) const {
        return choose<V>(x == x, keep<V>(abs(x) > threshold, splat<V>(T(1))), x);
    }
};

}  // namespace
}  // namespace lossk
