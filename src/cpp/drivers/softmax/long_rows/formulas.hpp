// Long softmax rows: what is written, a register at a time.
//
// at(i, reach) is the result for the elements of a row from i on. reads_kept: the formula reads the row's e_k, so the
// row that is reduced meanwhile keeps its own, too. Nothing is prefetched: a row is written soon after it was reduced.
#pragma once

#include "row.hpp"

namespace lossk {
namespace {

// slope p_k - q with the same q for every class: every gradient for labels, and softmax itself.
template <class T>
struct scaled_exponentials {
    using V = vec<T>;
    static constexpr bool reads_kept = true;
    const T* e;
    V factor, constant;

    template <class Reach>
    V at(index i, Reach reach) const {
        return fma(reach.load(e + i), factor, -constant);
    }
};

// The same with q_k = share y_k + constant.
template <class T, class E>
struct targeted_exponentials {
    using V = vec<T>;
    static constexpr bool reads_kept = true;
    const T* e;
    const E* y;
    V factor, share, constant;

    template <class Reach>
    V at(index i, Reach reach) const {
        return fma(reach.load(e + i), factor, -fma(reach.load(y + i), share, constant));
    }
};

// The first, of logits capped to y_k.
template <class T>
struct capped_exponentials {
    using V = vec<T>;
    static constexpr bool reads_kept = true;
    const T *e, *y;
    V factor, constant;
    soft_cap<V> cap;

    template <class Reach>
    V at(index i, Reach reach) const {
        return fma(reach.load(e + i), factor, -constant) * cap.slope(reach.load(y + i));
    }
};

// log p_k
template <class T, class E>
struct shifted_logits {
    using V = vec<T>;
    static constexpr bool reads_kept = false;
    const E* z;
    V maximum, log_total;

    template <class Reach>
    V at(index i, Reach reach) const {
        return (reach.load(z + i) - maximum) - log_total;
    }
};

// The formula of a block that begins at `first`; `s` holds what normalise has left of the row.
template <row_kind kind, class E, class T = arithmetic<E>>
inline auto formula_at(const long_rows<E>& in, index row, index first, const row_scratch<T>& s) {
    using V = vec<T>;
    const row_state& r = *s.state;
    if constexpr (kind == row_kind::log_softmax) {
        const T maximum = static_cast<T>(r.maximum);  // and what it lost by rounding goes to the logarithm
        const double lost = r.maximum - static_cast<double>(maximum);
        return shifted_logits<T, E>{in.z_row(row), splat<V>(maximum), splat<V>(static_cast<T>(lost + r.log_total))};
    } else {
        const double rescale = exp_of(s.reference[first / row_block] - r.maximum);
        const V factor = splat<V>(static_cast<T>(r.inverse * r.slope * r.factor * rescale));
        const V constant = splat<V>(static_cast<T>(static_cast<double>(in.even_share) * r.factor));
        if constexpr (kind == row_kind::targets) {
            const V share = splat<V>(static_cast<T>(static_cast<double>(in.keep_share) * r.factor));
            return targeted_exponentials<T, E>{in.kept_row(s, row), in.y_row(row), factor, share, constant};
        } else if constexpr (kind == row_kind::capped) {
            return capped_exponentials<T>{in.kept_row(s, row), s.capped, factor, constant, in.cap};
        } else {
            return scaled_exponentials<T>{in.kept_row(s, row), factor, constant};
        }
    }
}

// Any gradient, with or without second derivative, block by block: of what reduce kept, or of the logits.
template <class E>
struct any_gradient {
    using T = arithmetic<E>;
    using V = vec<T>;
    const long_rows<E>& in;
    const index row;
    const row_scratch<T>& s;

    template <bool capped, bool hess, bool recompute>
    void fill(index first, index n, T* to, T* h_to) const {
        const row_state& r = *s.state;
        const auto* from = [&] {
            if constexpr (recompute)
                return in.z_row(row) + first;
            else
                return in.kept_row(s, row) + first;
        }();
        const T maximum = static_cast<T>(r.maximum), factor = static_cast<T>(r.factor);
        const bool moderate = recompute && maximum >= -exp_from<T>::limit && maximum <= exp_from<T>::limit;
        const exp_from<T> exp_k = moderate ? exp_from<T>::near(maximum) : exp_from<T>::zero();
        const T subtracted = moderate ? T(0) : maximum;
        const double reference =
            recompute ? static_cast<double>(subtracted) + exp_k.reference() : s.reference[first / row_block];
        const T rescale = static_cast<T>(r.inverse * exp_of(reference - r.maximum));
        const T inverse = static_cast<T>(r.inverse * exp_of(static_cast<double>(maximum) - r.maximum));
        const V slope = splat<V>(static_cast<T>(r.slope)), square = splat<V>(static_cast<T>(r.square));
        const bool varied = in.varied();
        alignas(line_bytes) T buffer[row_block];
        const T* y = in.target_block(row, first, n, buffer);
        each_register<V>(n, [&](index i, auto reach) {
            const V z = reach.load(from + i);
            const V x = !recompute ? z : capped ? in.cap(z) : exp_k(z - subtracted);
            const V q = varied ? in.linear_weights(y, first, i, reach) : splat<V>(in.even_share);
            const V p = capped ? exp_quick(x - maximum) * inverse : x * rescale;
            V g = softmax_grad(p, slope, q), h = softmax_hess(p, slope, square);
            if constexpr (capped) {
                const V bend = in.cap.slope(x);
                h = h * bend * bend + g * in.cap.curvature(x);
                g = g * bend;
            }
            reach.store(to + i, g * factor);
            if constexpr (hess) reach.store(h_to + i, h * factor);
        });
    }
    void fill(index first, index n, T* to, T* h_to) const {
        const auto filled = [&]<bool capped> {
            if (in.a.recompute) return fill<capped, false, true>(first, n, to, h_to);
            in.a.h ? fill<capped, true, false>(first, n, to, h_to) : fill<capped, false, false>(first, n, to, h_to);
        };
        in.capped ? filled.template operator()<true>() : filled.template operator()<false>();
    }
};

}  // namespace
}  // namespace lossk
