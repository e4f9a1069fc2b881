// Logistic (soft margin): log(1 + exp(-y*z)), y = +-1.
#pragma once

#include "domain.hpp"
#include "logit.hpp"

namespace lossk {
namespace {

template <class T>
struct logistic : of_signs {
    static constexpr const char* name = "logistic";
    static constexpr int parameters = 0;

    explicit logistic(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const logit<V> m(y * z);
        return {m.spread + max(T(0), -m.x), -y * m.q, y * y * m.p * m.q};
    }
};

}  // namespace
}  // namespace lossk
