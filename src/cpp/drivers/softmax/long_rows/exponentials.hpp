// Long softmax rows: the loop over a block that everything else waits for. It adds up e_k = exp(z_k - r),
// keeps them for the gradient, finds the next block's maxima and prefetches what comes after it.
#pragma once

#include "row.hpp"

namespace lossk {
namespace {

// The largest element of each lane; `lowest` where there is none. NaN may be lost: the sum will tell.
template <class E, class T = arithmetic<E>, class V = vec<T>>
[[gnu::noinline]] V lane_maxima(const E* z, index n) {
    constexpr int L = lanes<V>, K = long_rows<T>::K;
    constexpr index group = K * L;
    V m[K];
    for (int k = 0; k < K; ++k) m[k] = splat<V>(lowest<T>);
    index i = 0;
    for (; i + group <= n; i += group)
        for (int k = 0; k < K; ++k) m[k] = max(m[k], load<V>(z + i + k * L));
    each_register<V>(n - i, [&](index j, auto reach) { m[0] = max(m[0], reach.load(z + i + j, lowest<T>)); });
    for (int k = 1; k < K; ++k) m[0] = max(m[0], m[k]);
    return m[0];
}

// What is summed up together with the exponentials: nothing, z_k - r, or q_k (z_k - r) and q_k for probabilities y.
enum class linear_terms { none, equal, weighted };

// A block of n elements: its logits, its probabilities (null: none), its label (negative or past the end: not here),
// where its e_k are kept, n logits of which the largest are wanted (the block to come), and how many bytes ahead of the
// stores to ask for lines.
template <class T, class E, class X>
struct row_piece {
    const X* z;
    const E* y;
    index n, t;
    T* e;
    const E* coming;
    index write_ahead;
};

// How the exponentials are taken: exp_k(z_k), or exp_k(z_k - subtracted). And q_k = keep_share y_k + even_share.
template <class T>
struct row_reference {
    exp_from<T> exp_k;
    T subtracted, keep_share, even_share;
};

// Nothing to do meanwhile.
struct idle {
    void operator()(index) const {}
};

// The sums of a row: of e_k, of linear terms and of their weights.
template <class T, bool linear>
struct row_totals {
    lane_sum<T, long_rows<T>::K> e;
};
template <class T>
struct row_totals<T, true> {
    lane_sum<T, long_rows<T>::K> e, term, weight;
};

// Adds up what a block has to add: its e_k without the label's, and the linear terms of all. Calls work(i) for every
// whole group, and returns the lanes' maxima of the block to come.
// A function of its own, so that its constants have the registers to themselves.
template <bool subtracting, linear_terms linear, bool storing, class T, class E, class X, class Totals, class F>
[[gnu::noinline]] vec<T> exponentiate(const row_reference<T>& reference, const row_piece<T, E, X>& at, Totals& total,
                                      const F& work) {
    // Copies, as stores through block.e could change what the arguments refer to.
    const row_reference<T> r = reference;
    const row_piece<T, E, X> block = at;
    const F meanwhile = work;
    using V = vec<T>;
    constexpr int L = lanes<V>, K = long_rows<T>::K;
    constexpr index group = K * L, ahead = 10240 / static_cast<index>(sizeof(X));
    constexpr T nothing = -T(__builtin_inf());
    // For lines that are probably not in L1. Whole registers are faster where nothing is stored, and for 16 bits.
    constexpr whole_register<V, storing && !narrow_element<E>> fresh{};
    const index n = block.n, t = block.t;
    V sum[K]{}, term[K]{}, weight[K]{}, largest = splat<V>(lowest<T>);

    const auto difference = [&](V z) { return subtracting ? z - r.subtracted : z; };
    const auto add_linear = [&](int k, V d, index i, auto reach) {
        if constexpr (linear == linear_terms::equal) {
            term[k] += reach.mask(d);
        } else if constexpr (linear == linear_terms::weighted) {
            const V q = reach.mask(fma(reach.load(block.y + i), r.keep_share, splat<V>(r.even_share)));
            term[k] = fma(q, keep<V>(q != T(0), d), term[k]);
            weight[k] += q;
        }
    };
    // The k-th register of a group, from element j on. The label, which is in `lane` if it is here, counts as
    // -infinity.
    const auto add_register = [&](index j, int k, int lane, auto reach) {
        V d = difference(reach.load(block.z + j, nothing));
        unrolled<K>([&](auto m) {
            if (m == k) add_linear(m, d, j, reach);
        });
        d = choose(only_lane<V>(lane), splat<V>(nothing), d);
        const V x = r.exp_k(d);
        unrolled<K>([&](auto m) {
            if (m == k) sum[m] += x;
        });
        largest = max(largest, reach.load(block.coming + j, lowest<T>));
        if constexpr (storing) reach.store(block.e + j, x);
    };
    // The group of the label, or the last one: register by register, as stores of a part of one take their time.
    const auto add_part = [&](index i, index here) {
        const int lane = t >= i && t < i + here ? static_cast<int>(t - i) : -1;
#pragma GCC unroll 1
        for (int k = 0; k * L < here; ++k) {
            const index left = here - k * L;
            if (left >= L)
                add_register(i + k * L, k, lane - k * L, whole_register<V>{});
            else
                add_register(i + k * L, k, lane - k * L, part_of_register<V>{static_cast<int>(left)});
        }
    };
    for (index i = 0; i < n; i += group) {
        const index stop = t >= i && t < n ? t / group * group : n / group * group;
        for (; i < stop; i += group) {
            prefetch(block.z + i, ahead);
            // About a block ahead, as the logits are read for their maxima.
            if constexpr (linear == linear_terms::weighted) prefetch_to_l1(block.y + i, row_block);
            V d[K], x[K];
            for (int k = 0; k < K; ++k) {
                largest = max(largest, fresh.load(block.coming + i + k * L));
                d[k] = difference(load<V>(block.z + i + k * L));
                x[k] = r.exp_k(d[k]);
            }
            for (int k = 0; k < K; ++k) sum[k] += x[k];
            for (int k = 0; k < K; ++k) add_linear(k, d[k], i + k * L, fresh);
            if constexpr (storing) {
                prefetch_to_write<group>(block.e + i, block.write_ahead);
                for (int k = 0; k < K; ++k) fresh.store(block.e + i + k * L, x[k]);
            }
            meanwhile(i);
        }
        if (i == n) break;
        const index here = smaller(group, n - i);
        add_part(i, here);
        if (here == group) meanwhile(i);
    }
    for (int k = 0; k < K; ++k) {
        total.e.add(k, sum[k]);
        if constexpr (linear != linear_terms::none) total.term.add(k, term[k]);
        if constexpr (linear == linear_terms::weighted) total.weight.add(k, weight[k]);
    }
    total.e.flush();
    if constexpr (linear != linear_terms::none) total.term.flush();
    if constexpr (linear == linear_terms::weighted) total.weight.flush();
    return largest;
}

}  // namespace
}  // namespace lossk
