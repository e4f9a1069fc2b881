// Perceptron: max(0, -y*z), y = +-1; the gradient is -y also at 0, so that zeros are left.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct perceptron {
    static constexpr const char* name = "perceptron";
    static constexpr int parameters = 0;
    static constexpr const char* domain = "y of -1 or 1";

    explicit perceptron(const double*) {}

    template <class V>
    bits<V> outside(V, V y) const {
        return (abs(y) < T(1)) | (abs(y) > T(1));
    }

    template <class V>
    point<V> operator()(V z, V y) const {
        const V slack = T(0) - y * z;
        return {max(T(0), slack), keep<V>(slack >= T(0), -y), V{}};
    }
};

}  // namespace
}  // namespace lossk
