// Lion: steps of one length, along the sign of an average of gradients.
#pragma once

#include "../simd/vec.hpp"

namespace lossk {
namespace {

// p = shrink p - lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g.
// Parameters: lr, b1, b2, shrink (1 - lr weight decay).
template <class T>
struct lion {
    static constexpr const char* name = "lion";
    static constexpr int slots = 1, parameters = 4;
    static constexpr bool is_common = true;
    T lr, b1, new1, b2, new2, shrink;

    explicit lion(const double* p)
        : lr(static_cast<T>(p[0])),
          b1(static_cast<T>(p[1])),
          new1(static_cast<T>(1.0 - p[1])),
          b2(static_cast<T>(p[2])),
          new2(static_cast<T>(1.0 - p[2])),
          shrink(static_cast<T>(p[3])) {}

    template <class V>
    void operator()(V& p, V g, V* slot) const {
        V& m = slot[0];
        const V c = fma(m, b1, g * new1);
        // 0 and NaN are their own signs.
        const V sign = choose<V>((c < T(0)) | (c > T(0)), copysign(splat<V>(T(1)), c), c);
        p = p * shrink - lr * sign;
        m = fma(m, b2, g * new2);
    }
};

}  // namespace
}  // namespace lossk
