// Targets like z of rows: which are outside a formula's domain.
#pragma once

#include "../losses/domain.hpp"
#include "groups.hpp"

namespace lossk {
namespace {

// The first element of rows [begin, end) that counts and is outside the domain; -1: none.
template <class Formula, class T>
index first_row_outside(const rows_args& a, index begin, index end) {
    using V = vec<T>;
    const Formula formula{a.parameters, a.classes};
    piece_buffer<T> buffer;
    for (index row = begin; row < end; ++row) {
        if (a.row_weight && static_cast<const T*>(a.row_weight)[row] == T(0)) continue;
        for (index i = row * a.classes, n; i < (row + 1) * a.classes; i += n) {
            n = smaller(piece, (row + 1) * a.classes - i);
            const T* y = buffer.read(a.kind, a.target, i, n);
            bits<V> anywhere{};
            each_register<V>(n, [&](index j, auto reach) { anywhere |= formula.outside(reach.load(y + j)); });
            for (index j = 0; j < n && any<V>(anywhere); ++j)
                if (formula.outside(splat<V>(y[j]))[0]) return i + j;
        }
    }
    return -1;
}

// What cross-entropy takes for probabilities.
template <class T>
struct probabilities : of_counts {
    probabilities(const double*, index) {}
};

}  // namespace
}  // namespace lossk
