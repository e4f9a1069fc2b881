// x - tanh(x), which does not cancel near 0. Largest errors: value 5 ULP, derivative tanh(x)^2 3 ULP.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct tanhshrink_unit {
    static constexpr const char* name = "tanhshrink";
    static constexpr int parameters = 0;

    explicit tanhshrink_unit(const double*) {}

    template <class V>
    V value(V x) const {
        const V square = x * x;
        const V near = x * square * polynomial(square, constants<T>::shrink_poly);
        return choose<V>(abs(x) < T(1), near, x - tanh(x));
    }

    template <class V>
    V derivative(V x) const {
        const V y = tanh(x);
        return y * y;
    }
};

}  // namespace
}  // namespace lossk
