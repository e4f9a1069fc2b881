// Label smoothing of targets y in [0, 1]: y (1 - s) + s/2.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct smoothed_target {
    T keep, even;
    explicit smoothed_target(double s) : keep(static_cast<T>(1 - s)), even(static_cast<T>(s / 2)) {}

    template <class V>
    V operator()(V y) const {
        return fma(y, splat<V>(keep), splat<V>(even));
    }
};

}  // namespace
}  // namespace lossk
