// Quantile (pinball): q (y - z) where y > z, else (1 - q) (z - y).
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct quantile {
    static constexpr const char* name = "quantile";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    T below, above;
    explicit quantile(const double* p) : below(static_cast<T>(-p[0])), above(static_cast<T>(1 - p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y;
        const V slope = r > T(0) ? splat<V>(above) : r < T(0) ? splat<V>(below) : r;
        return {r * slope, slope, V{}};
    }
};

}  // namespace
}  // namespace lossk
