// Gamma, with a logarithmic link: z + y exp(-z).
#pragma once

#include "domain.hpp"
#include "log_link.hpp"

namespace lossk {
namespace {

template <class T>
struct gamma : of_positive_numbers {
    static constexpr const char* name = "gamma";
    static constexpr int parameters = 0;

    explicit gamma(const double*) {}

    template <class V>
    point<V> operator()(V z, V y) const {
        const V e = times_exp(y, -z);
        return {e == T(__builtin_inf()) ? e : z + e, T(1) - e, e};
    }
};

}  // namespace
}  // namespace lossk
