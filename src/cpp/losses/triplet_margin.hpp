// Triplet margin of an anchor a, a positive p and a negative n: max(0, margin + d(a, p) - d(a, n)), where
// d(u, v) = (sum |u - v + eps|^power)^(1/power). With swap, d(p, n) takes the place of d(a, n) where it is smaller.
#pragma once

#include "../base/types.hpp"
#include "../simd/math.hpp"

namespace lossk {
namespace {

template <class T>
struct triplet_margin {
    static constexpr const char* name = "triplet_margin";
    static constexpr int parameters = 4;
    static constexpr int inputs = 3, sums = 3;

    double margin, power;
    T eps, less;  // power - 1
    bool swaps;
    explicit triplet_margin(const double* p)
        : margin(p[0]), power(p[1]), eps(static_cast<T>(p[2])), less(static_cast<T>(p[1] - 1)), swaps(p[3] != 0) {}

    // d to power - 1, with the sign of d; 0 of 0.
    template <class V>
    V bent(V d) const {
        return less == T(1) ? d : less == T(0) ? sign(d) : bent_by(d, less);
    }
    template <class V>
    [[gnu::noinline]] static V bent_by(V d, T less) {
        return choose<V>(d == T(0), d, copysign(exp(less * log(abs(d))), d));
    }
    template <class V>
    V term(V d) const {
        return d * bent(d);
    }
    template <class V>
    void gather(const V (&x)[3], V (&s)[3]) const {
        s[0] = term(x[0] - x[1] + eps);
        s[1] = term(x[0] - x[2] + eps);
        if (swaps) s[2] = term(x[1] - x[2] + eps);
    }

    // A distance, and what its gradient is of bent(d): d(u, v)^(1 - power), 0 where it is 0 or infinite.
    struct distance {
        double size, slope;
    };
    distance root(double sum) const {
        using W = vec<double>;
        if (power == 1) return {sum, sum == 0 ? 0.0 : 1.0};
        const W all = splat<W>(sum);
        const double size = power == 2 ? sqrt(all)[0] : exp(log(all) * (1 / power))[0];
        return {size, sum == 2 * sum ? 0.0 : size / sum};
    }

    struct shared {
        T positive, negative, other;  // factors of bent(a - p), bent(a - n), bent(p - n)
    };
    struct row_point {
        double value;
        shared of;
    };
    row_point row(const double (&s)[3], double) const {
        const distance p = root(s[0]), n = root(s[1]), other = root(s[2]);
        // Where both distances are the same, each has half of the gradient.
        const double to_other = !swaps || other.size > n.size ? 0 : other.size < n.size ? 1 : 0.5;
        const double slack = margin + p.size - (to_other == 1 ? other.size : n.size);
        const double active = slack >= 0 ? 1 : 0;
        return {slack < 0 ? 0 : slack,
                {static_cast<T>(active * p.slope), static_cast<T>(active * (1 - to_other) * n.slope),
                 static_cast<T>(active * to_other * other.slope)}};
    }

    template <class V>
    void element(const V (&x)[3], const shared& of, V (&g)[3]) const {
        const V p = bent(x[0] - x[1] + eps) * of.positive, n = bent(x[0] - x[2] + eps) * of.negative;
        const V other = of.other != T(0) ? bent(x[1] - x[2] + eps) * of.other : V{};
        g[0] = p - n;
        g[1] = -p - other;
        g[2] = n + other;
    }
};

}  // namespace
}  // namespace lossk
