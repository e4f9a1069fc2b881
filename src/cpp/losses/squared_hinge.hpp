// Squared hinge: max(0, margin - y*z)^2, y = +-1.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct squared_hinge : of_signs {
    static constexpr const char* name = "squared_hinge";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    T margin;
    explicit squared_hinge(const double* p) : margin(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V slack = margin - y * z;
        const V active = max(T(0), slack);
        return {active * active, y * active * T(-2), keep<V>(slack > T(0), y * y * T(2))};
    }
};

}  // namespace
}  // namespace lossk
