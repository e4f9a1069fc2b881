// x min(max(x + 3, 0), 6) / 6. Largest errors: value 2.5 ULP; the derivative, x / 3 + 1/2 between -3 and 3, 0 below and
// 1 above, 3 ULP of the larger of the result and 1/8 near its zero at -1.5.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct hardswish_unit {
    static constexpr const char* name = "hardswish";
    static constexpr int parameters = 0;

    explicit hardswish_unit(const double*) {}

    template <class V>
    V value(V x) const {
        const V share = min(T(6), x + T(3)) * T(1.0 / 6);
        return choose<V>(x <= T(-3), V{}, x * share);
    }

    template <class V>
    V derivative(V x) const {
        const V between = fma(x, T(1.0 / 3), T(0.5));
        return choose<V>(x <= T(-3), V{}, choose<V>(x >= T(3), splat<V>(T(1)), between));
    }
};

}  // namespace
}  // namespace lossk
