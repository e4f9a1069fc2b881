// Second pass: logits become dz, block by block, and dz meets x and w while it is in the caches.
#pragma once

#include "sums.hpp"

namespace lossk {
namespace {

template <class U>
struct gradient_block {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using V = typename chunk::V;
    using O = typename chunk::O;
    static constexpr int R = chunk::R;
    static constexpr index L = chunk::L, lanes = chunk::lanes, depth = chunk::depth, widest = chunk::widest;

    const chunk& in;
    const index block, n, padded = linear_up(n, U::filtered);

    // A register of a row number of a panel.
    V of_rows(int which, index row) const {
        V v;
        for (int i = 0; i < L; ++i) v[i] = static_cast<T>(in.row_numbers(which)[row + i]);
        return v;
    }

    // dz of a panel, in place of its logits, or of exponentials from the largest logit of their block on, which is
    // still in block_numbers. At labels, where -infinity stands, it is anything until the end.
    void make_dz(index panel) const {
        const linear_args& a = in.a;
        T* const z = in.z(panel, block);
        const soft_cap<V> cap{static_cast<T>(a.softcap)};
        const bool raised = in.finds_exponentials(block);
        V maximum[R], coefficient[R], share[R];
        bits<V> counts[R];
        for (int r = 0; r < R; ++r) {
            const index row = panel * lanes + r * L;
            maximum[r] = of_rows(row_maximum, row);
            coefficient[r] = of_rows(row_coefficient, row);
            if (raised) coefficient[r] *= exp_quick(load<V>(in.block_numbers(block, largest_logit) + row) - maximum[r]);
            share[r] = of_rows(row_share, row);
            counts[r] = first_lanes<V>(static_cast<int>(a.rows < row ? 0 : smaller(L, a.rows - row)));
        }
        const bool smooths = a.label_smoothing > 0, capped = a.softcap > 0;
        for (index c = 0; c < n; ++c) {
            const T weight = smooths ? in.weight_of_class(a.begin + block * linear_block + c) : T(0);
            for (int r = 0; r < R; ++r) {
                T* const at = z + c * lanes + r * L;
                const V y = load<V>(at);
                V g = (raised ? y : exp_quick(y - maximum[r])) * coefficient[r];
                if (smooths) g = g - share[r] * weight;
                if (capped) g *= cap.slope(y);
                store(at, keep(counts[r], g));
            }
        }
        for (T* at = z + n * lanes; at < z + padded * lanes; at += L) store(at, V{});
        in.each_label(panel, block, [&](index row, index c) {
            z[c * lanes + row % lanes] = static_cast<T>(in.row_numbers(row_at_label)[row]);
        });
    }

    // Marks the parts of dz that count, by group of rows.
    void mark(index group) const {
        const T eps = static_cast<T>(in.a.filter_eps);
        for (index c = 0; c < padded; c += U::filtered) {
            V largest{};
            for (index row = group * linear_rows; row < (group + 1) * linear_rows; row += lanes) {
                const T* const z = in.z(row / lanes, block) + c * lanes;
                for (index i = 0; i < U::filtered * lanes; i += L) {
                    const V g = abs(load<V>(z + i));
                    largest = choose(g < eps, largest, splat<V>(1));  // NaN counts
                }
            }
            in.flags(block)[c / U::filtered * in.groups() + group] = any<V>(largest > T(0));
        }
    }

    // Sums over rows of dz, a class at a time: as many registers as hold a group, whatever their width.
    void add_bias() const {
        constexpr int registers = linear_rows / L;
        for (index c = 0; c < n; ++c) {
            double total = 0;
            for (index row = 0; row < l_rows(); row += linear_rows) {
                V part[registers];
                for (int r = 0; r < registers; ++r) {
                    const index at = row + r * L;
                    part[r] = load<V>(in.z(at / lanes, block) + c * lanes + at % lanes);
                }
                total += static_cast<double>(tree_sum(part));
            }
            in.a.dbias[in.a.begin + block * linear_block + c] += total;
        }
    }
    index l_rows() const { return in.l.rows; }

    // Where units of pairs want dz: pairs of classes for dx in the first half of the block, pairs of rows for dw in the
    // other; of each all terms.
    index dz_plane() const { return padded / 2 * lanes; }
    O* pairs_of_classes(index panel) const { return reinterpret_cast<O*>(in.z(panel, block)); }
    O* along_rows(index panel) const { return pairs_of_classes(panel) + (depth == 1 ? 0 : U::terms * dz_plane()); }
    void make_pairs(index panel) const {
        if constexpr (depth == 2) {
            T dz[linear_block * lanes];
            __builtin_memcpy(dz, in.z(panel, block), static_cast<std::size_t>(padded * lanes) * sizeof(T));
            for (index c = 0; c < padded; ++c)
                operands_along<U>(dz + c * lanes, lanes, along_rows(panel) + c * lanes / 2, dz_plane());
            for (index c = 0; c < padded; c += 2)
                operands_across<U>(dz + c * lanes, dz + (c + 1) * lanes, lanes, pairs_of_classes(panel) + c / 2 * lanes,
                                   dz_plane());
        }
    }

    // Asks for what give() will add to.
    void prefetch_dw(index c, index k, index wide) const {
        const linear_args& a = in.a;
        if (a.first) return;
        for (index i = c; i < smaller(c + U::rows, n); ++i) {
            const index at = a.begin + block * linear_block + i;
            for (const linear_segment& s : a.dw)
                if (at >= s.first && at < s.end)
                    prefetch_numbers<T>(a.dw_kind, s.rows, (at - s.first) * a.features + k, wide);
        }
    }

    // Rows of dw that have been summed up over the chunk's rows, features [k, k + wide).
    void give(const T* sums, index stride, index k, index wide) const {
        const linear_args& a = in.a;
        for (index c = 0; c < n; ++c) {
            const index at = a.begin + block * linear_block + c;
            for (const linear_segment& s : a.dw) {
                if (at < s.first || at >= s.end) continue;
                const index element = (at - s.first) * a.features + k;
                if (a.first) {
                    write_numbers(a.dw_kind, sums + c * stride, wide, s.rows, element);
                } else {
                    T* const to = static_cast<T*>(s.rows) + element;
                    each_register<V>(wide, [&](index i, auto reach) {
                        reach.store(to + i, reach.load(to + i) + reach.load(sums + c * stride + i));
                    });
                }
            }
        }
    }

    void make_dw() const {
        const linear_args& a = in.a;
        T* const sums = reinterpret_cast<T*>(a.scratch);
        constexpr index stride = widest + 16, deep = chunk::deepest / lanes;
        static_assert(linear_block * stride * index{sizeof(T)} <= linear_scratch(chunk::unit));
        for (index k = 0; k < a.features; k += widest) {
            const index wide = smaller(widest, a.features - k);
            for (index column = 0; column < wide; column += lanes)
                for (index panel = 0; panel < in.panels(); panel += deep)
                    for (index c = 0; c < n; c += U::rows) {
                        tile_operands<U> of{along_rows(panel) + c * (lanes / depth),
                                            in.panel_stride(),
                                            in.x_columns((k + column) / lanes) + panel * (lanes / depth) * lanes,
                                            smaller(deep, in.panels() - panel),
                                            lanes / depth,
                                            dz_plane(),
                                            in.x_columns_plane()};
                        if (U::in_registers && of.steps == 1)  // of a few rows; the others are 0
                            of.inner = linear_up(smaller(lanes, a.rows - panel * lanes), depth) / depth;
                        if (a.filter_eps > 0) {
                            of.counts = in.flags(block) + c / U::filtered * in.groups() + panel * lanes / linear_rows;
                            of.counts_stride = 1;
                            of.steps_per_count = linear_rows / lanes;
                        }
                        if (panel == 0) prefetch_dw(c, k + column, smaller(lanes, wide - column));
                        multiply_tile<U, lanes / depth, 1, lanes / depth>(of, sums + c * stride + column, stride,
                                                                          panel > 0);
                    }
            give(sums, stride, k, wide);
        }
    }
};

template <class U>
void dz_and_dw(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
    [[maybe_unused]] const typename U::session open{linear_chunk<U>::lanes / U::depth};
    const bool wants_dw = args.dw[0].first < args.dw[0].end || args.dw[1].first < args.dw[1].end;
    for (index b = begin; b < end; ++b) {
        const gradient_block<U> block{in, b, in.classes(b)};
        for (index panel = 0; panel < in.panels(); ++panel) block.make_dz(panel);
        if (args.filter_eps > 0)
            for (index group = 0; group < in.groups(); ++group) block.mark(group);
        if (args.dbias) block.add_bias();
        for (index panel = 0; panel < in.panels(); ++panel) block.make_pairs(panel);
        if (wants_dw) block.make_dw();
    }
}

}  // namespace
}  // namespace lossk
