// Modified Huber: with s = max(0, 1 - y*z), y = +-1: s^2 where s <= 2, 4 (s - 1) beyond.
#pragma once

#include "domain.hpp"

namespace lossk {
namespace {

template <class T>
struct modified_huber : of_signs {
    static constexpr const char* name = "modified_huber";
    static constexpr int parameters = 0;
    static constexpr bool streams_apart = true;

    explicit modified_huber(const double*) {}

    // With c = min(2, s), both branches are c*(2*s - c).
    template <class V>
    point<V> operator()(V z, V y) const {
        const V s = max(T(0), T(1) - y * z);
        const V c = min(T(2), s);
        return {c * (s + s - c), y * c * T(-2), keep<V>((s > T(0)) & (s <= T(2)), y * y * T(2))};
    }
};

}  // namespace
}  // namespace lossk
