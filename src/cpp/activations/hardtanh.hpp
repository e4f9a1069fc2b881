// scale min(max(x - shift, low), high), of which Hardtanh, ReLU6 and Hardsigmoid are cases: exact with scale 1 and
// shift 0, else 1.5 ULP; the derivative is scale where low < x - shift < high, 0 elsewhere.
#pragma once

#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct hardtanh_unit {
    static constexpr const char* name = "hardtanh";
    static constexpr int parameters = 4;

    T low, high, shift, scale, first, last;
    explicit hardtanh_unit(const double* p)
        : low(static_cast<T>(p[0])),
          high(static_cast<T>(p[1])),
          shift(static_cast<T>(p[2])),
          scale(static_cast<T>(p[3])),
          first(static_cast<T>(p[0] + p[2])),
          last(static_cast<T>(p[1] + p[2])) {}

    template <class V>
    V value(V x) const {
        return min(high, max(low, x - shift)) * scale;
    }

    template <class V>
    V derivative(V x) const {
        return choose<V>(x == x, keep<V>((x > first) & (x < last), splat<V>(scale)), x);
    }
};

}  // namespace
}  // namespace lossk
