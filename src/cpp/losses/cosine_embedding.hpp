// Cosine embedding of two rows a and b: 1 - cos where y = 1, max(0, cos - margin) where y = -1.
//
// With A = sum a^2 + 1e-12, B = sum b^2 + 1e-12: cos = sum a b / sqrt(A B), dcos/da = b / sqrt(A B) - a cos / A. The
// constant makes the cosine of a row of zeros 0.
#pragma once

#include "../base/types.hpp"
#include "../simd/vec.hpp"

namespace lossk {
namespace {

template <class T>
struct cosine_embedding {
    static constexpr const char* name = "cosine_embedding";
    static constexpr int parameters = 1;
    static constexpr int inputs = 2, sums = 3;

    double margin;
    explicit cosine_embedding(const double* p) : margin(p[0]) {}

    template <class V>
    void gather(const V (&x)[2], V (&s)[3]) const {
        s[0] = x[0] * x[1];
        s[1] = x[0] * x[0];
        s[2] = x[1] * x[1];
    }

    struct shared {
        T both, own[2];  // factors of the other row, and of the row itself
    };
    struct row_point {
        double value;
        shared of;
    };
    row_point row(const double (&s)[3], double y) const {
        const double a = s[1] + 1e-12, b = s[2] + 1e-12;
        const double size = sqrt(splat<vec<double>>(a))[0] * sqrt(splat<vec<double>>(b))[0];
        const double cosine = s[0] / size, beyond = cosine - margin;
        const bool alike = y == 1;
        const double value = y != y ? y : alike ? 1 - cosine : beyond < 0 ? 0 : beyond;
        const double slope = alike ? -1 : beyond >= 0 ? 1 : 0;
        const double of = slope * cosine;
        return {value, {static_cast<T>(slope / size), {static_cast<T>(of / a), static_cast<T>(of / b)}}};
    }

    template <class V>
    void element(const V (&x)[2], const shared& of, V (&g)[2]) const {
        g[0] = x[1] * of.both - x[0] * of.own[0];
        g[1] = x[0] * of.both - x[1] * of.own[1];
    }
};

}  // namespace
}  // namespace lossk
