// What softmax, log-softmax and log-sum-exp of a row pass back, from p = softmax(x) and the cotangent c:
//
//     softmax      p (c - sum p c)        log-softmax      c - p sum c        log-sum-exp      p c, c one number a row
//
// Formulas of drivers/rows.hpp whose "gradient" that is; the last has c as the row's weight.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

template <class V>
struct passed_back {
    V grad;
};

template <class T>
struct softmax_vjp {
    static constexpr const char* name = "softmax_vjp";
    static constexpr row_target target = row_target::elements;

    softmax_vjp(const double*, index) {}

    template <class V>
    V gather(V p, V c) const {
        return p * c;
    }
    template <class V>
    passed_back<V> element(V p, V c, T shared) const {
        return {p * (c - shared)};
    }
};

template <class T>
struct log_softmax_vjp {
    static constexpr const char* name = "log_softmax_vjp";
    static constexpr row_target target = row_target::elements;

    log_softmax_vjp(const double*, index) {}

    template <class V>
    V gather(V, V c) const {
        return c;
    }
    template <class V>
    passed_back<V> element(V p, V c, T shared) const {
        return {c - p * shared};
    }
};

template <class T>
struct logsumexp_vjp {
    static constexpr const char* name = "logsumexp_vjp";
    static constexpr row_target target = row_target::none;

    logsumexp_vjp(const double*, index) {}

    template <class V>
    passed_back<V> element(V p, V, T) const {
        return {p};
    }
};

}  // namespace
}  // namespace lossk
