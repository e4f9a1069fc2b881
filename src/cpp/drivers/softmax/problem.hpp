// What both softmax drivers (a lane holds a row; a lane holds an element of a row) share: typed arguments, the linear
// weights of a row's classes.
#pragma once

#include "../../losses/cross_entropy.hpp"
#include "../../losses/domain.hpp"
#include "../../simd/narrow.hpp"
#include "../memory.hpp"
#include "../reduce.hpp"

namespace lossk {
namespace {

template <class T>
constexpr T lowest = sizeof(T) == 4 ? T(-0x1.fffffep127f) : T(-0x1.fffffffffffffp1023);

// The arguments of a softmax kernel with their type of arithmetic back.
template <class T>
struct softmax_problem {
    const softmax_args& a;
    const T* class_weight = static_cast<const T*>(a.class_weight);
    const T* row_weight = static_cast<const T*>(a.row_weight);
    T* each = static_cast<T*>(a.each);
    T* lse = static_cast<T*>(a.lse);
    const T keep_share = static_cast<T>(1.0 - a.label_smoothing);                                 // 1 - e
    const T even_share = static_cast<T>(a.label_smoothing / static_cast<double>(a.row_classes));  // e / C

    const soft_cap<vec<T>> cap{static_cast<T>(a.softcap)};
    const bool capped = a.softcap > 0;

    // Arrays in 16 bits are widened piece by piece, and results narrowed.
    const bool narrow = sizeof(T) == sizeof(float) && a.kind != storage::same;
    const T* read(const void* array, index first, index n, T* buffer) const {
        if constexpr (sizeof(T) == sizeof(float)) {
            if (narrow) {
                widen_tile(a.kind, array, first, n, buffer);
                return buffer;
            }
        }
        return static_cast<const T*>(array) + first;
    }
    void write_narrow(const T* from, index n, void* array, index first) const {
        if constexpr (sizeof(T) == sizeof(float)) narrow_tile(a.kind, from, n, array, first);
    }

    // Do q_k differ from class to class, or depend on the row?
    bool varied() const { return a.target || (class_weight && even_share != T(0)); }
    index label(index row) const { return a.label ? a.label[row] : -1; }
    // What is labelled to be ignored, or weighs 0, does not count, whatever it holds.
    bool counts(index row) const { return (!a.label || a.label[row] >= 0) && weight(row) != T(0); }
    T weight(index row) const { return row_weight ? row_weight[row] : T(1); }
    // w_t (1 - e): the weight of the label's own term.
    T label_weight(std::int64_t t) const { return (class_weight ? class_weight[t] : T(1)) * keep_share; }
    T linear_weight_of_label(std::int64_t t) const { return (class_weight ? class_weight[t] : T(1)) * even_share; }

    // q_k of one register of classes, or of one class of a register of rows, given its weights and probabilities.
    template <class V>
    V linear_weight(V w, V y) const {
        return a.target ? w * fma(y, keep_share, even_share) : w * even_share;
    }
};

// Tells whoever asks whether any of n probabilities from y on may be below 0: before they are used, as they are in the
// caches then.
template <class E>
inline void look_for_negative(const softmax_args& a, const E* y, index n) {
    using V = vec<arithmetic<E>>;
    if (!a.outside) return;
    bits<V> marks{};
    each_register<V>(n, [&](index i, auto reach) { marks |= of_counts::mark(reach.load(y + i)); });
    if (may_be_outside<of_counts, V>(marks)) __atomic_store_n(a.outside, true, __ATOMIC_RELAXED);
}

// exp of one number, mostly of 0.
[[gnu::noinline]] double exp_of_other(double x) { return exp(splat<vec<double>>(x))[0]; }
inline double exp_of(double x) { return x == 0 ? 1.0 : exp_of_other(x); }

}  // namespace
}  // namespace lossk
