// Perceptron: max(0, -y*z), y = +-1; the gradient is -y also at 0, so that zeros are left.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct perceptron : of_signs {
    static constexpr const char* name = "perceptron";
    static constexpr int parameters = 0;
    static constexpr bool streams_apart = true;

    explicit perceptron(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V slack = T(0) - y * z;
        return {max(T(0), slack), keep<V>(slack >= T(0), -y), V{}};
    }
};

}  // namespace
}  // namespace lossk
