// What a pointwise formula returns: all it can say about one register of samples. The compiler drops what is unused.
#pragma once

#include "../base/types.hpp"
#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class V>
struct point {
    V value, grad, hess;
};

}  // namespace
}  // namespace lossk
