// Hinge: max(0, margin - y*z), y = +-1; the gradient is -y where that is strictly positive.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct hinge : of_signs {
    static constexpr const char* name = "hinge";
    static constexpr int parameters = 1;
    static constexpr bool is_short = true;

    T margin;
    explicit hinge(const double* p) : margin(static_cast<T>(p[0])) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V slack = margin - y * z;
        return {max(T(0), slack), keep<V>(slack > T(0), -y), V{}};
    }
};

}  // namespace
}  // namespace lossk
