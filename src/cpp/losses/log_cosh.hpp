// Log-cosh: log(cosh(r)), with r = z - y.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct log_cosh {
    static constexpr const char* name = "log_cosh";
    static constexpr int parameters = 0;
    static constexpr bool streams_apart = true;

    explicit log_cosh(const double*) {}

    // Near 0, where |r| + log1p(e) - log 2 with e = exp(-2|r|) cancels: cosh^-2 = 1 - t^2, with the gradient t =
    // tanh(r).
    template <class V>
    point<V> operator()(V z, V y) const {
        const V r = z - y, size = abs(r), t = tanh(r);
        const V e = exp_flush(T(-2) * size), q = e / (T(1) + e);
        const bits<V> near = size < T(0.75);
        const V l = log1p_unit(near ? t * -t : e);
        return {near ? l * T(-0.5) : (size - T(0.69314718055994531)) + l, t, T(4) * q * (T(1) - q)};
    }
};

}  // namespace
}  // namespace lossk
