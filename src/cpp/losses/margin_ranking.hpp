// Margin ranking of pairs: max(0, margin - y (x1 - x2)); the gradient passes at the tie.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

template <class T>
struct margin_ranking {
    static constexpr const char* name = "margin_ranking";
    static constexpr int parameters = 1;
    static constexpr int inputs = 2;
    static constexpr bool single = true;

    T margin;
    explicit margin_ranking(const double* p) : margin(static_cast<T>(p[0])) {}

    template <class V>
    V operator()(const V (&x)[2], V y, V (&g)[2]) const {
        const V slack = margin - y * (x[0] - x[1]);
        g[1] = keep<V>(slack >= T(0), y);
        g[0] = -g[1];
        return max(T(0), slack);
    }
};

}  // namespace
}  // namespace lossk
