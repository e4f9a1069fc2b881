// Exponential: exp(-y*z), y = +-1.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct exponential : of_signs {
    static constexpr const char* name = "exponential";
    static constexpr int parameters = 0;
    static constexpr bool streams_apart = true;

    explicit exponential(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V e = exp_over(-y * z);
        return {e, -y * e, y * y * e};
    }
};

}  // namespace
}  // namespace lossk
