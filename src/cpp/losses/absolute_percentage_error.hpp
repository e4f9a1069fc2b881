// Absolute percentage error: 100 |z - y| / max(|y|, eps).
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct absolute_percentage_error {
    static constexpr const char* name = "absolute_percentage_error";
    static constexpr int parameters = 1;
    static constexpr bool streams_apart = true;

    T eps;
    explicit absolute_percentage_error(const double* p) : eps(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y, factor = T(100) / max(eps, abs(y));
        return {abs(r) * factor, sign(r) * factor, V{}};
    }
};

}  // namespace
}  // namespace lossk
