// x / (1 + |x|). Largest errors: value 1.5 ULP, derivative 1 / (1 + |x|)^2 3.5 ULP.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct softsign_unit {
    static constexpr const char* name = "softsign";
    static constexpr int parameters = 0;

    explicit softsign_unit(const double*) {}

    template <class V>
    V value(V x) const {
        const V inside = max(T(-1e30), min(T(1e30), x));
        return inside / (T(1) + abs(inside));
    }

    template <class V>
    V derivative(V x) const {
        const V inverse = T(1) / (T(1) + abs(x));
        return inverse * inverse;
    }
};

}  // namespace
}  // namespace lossk
