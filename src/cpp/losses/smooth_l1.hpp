// Smooth L1: r^2/(2 beta) where |r| < beta, |r| - beta/2 beyond, with r = z - y; beta = 0 is the absolute error.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct smooth_l1 {
    static constexpr const char* name = "smooth_l1";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    // A beta below the smallest normal number, whose inverse may be infinite, counts as 0.
    T beta, inverse;
    explicit smooth_l1(const double* p)
        : beta(p[0] < static_cast<double>(constants<T>::smallest_normal) ? T(0) : static_cast<T>(p[0])),
          inverse(T(1) / beta) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y, size = abs(r), slope = r * inverse;
        const bits<V> inside = size < beta;
        return {inside ? r * slope * T(0.5) : size - beta * T(0.5), inside ? slope : sign(r),
                keep<V>(inside, splat<V>(inverse))};
    }
};

}  // namespace
}  // namespace lossk
