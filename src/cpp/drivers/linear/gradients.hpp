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
    static constexpr int R = tile_registers;
    static constexpr index L = chunk::L, lanes = chunk::lanes, depth = chunk::depth, widest = chunk::widest;

    const chunk& in;
    const index block, n, padded = linear_up(n, linear_filtered);

    // A register of a row number of a panel.
    V of_rows(int which, index row) const {
        V v;
        for (int i = 0; i < L; ++i) v[i] = static_cast<T>(in.row_numbers(which)[row + i]);
        return v;
    }

    // dz of a panel, in place of its logits.
    void make_dz(index panel) const {
        const linear_args& a = in.a;
        T* const z = in.z(panel, block);
        const soft_cap<V> cap{static_cast<T>(a.softcap)};
        V maximum[R], coefficient[R], share[R];
        bits<V> counts[R];
        for (int r = 0; r < R; ++r) {
            const index row = panel * lanes + r * L;
            maximum[r] = of_rows(row_maximum, row);
            coefficient[r] = of_rows(row_coefficient, row);
            share[r] = of_rows(row_share, row);
            counts[r] = first_lanes<V>(static_cast<int>(a.rows < row ? 0 : smaller(L, a.rows - row)));
        }
        const bool smooths = a.label_smoothing > 0, capped = a.softcap > 0;
        for (index c = 0; c < n; ++c) {
            const T weight = smooths ? in.weight_of_class(a.begin + block * linear_block + c) : T(0);
            for (int r = 0; r < R; ++r) {
                T* const at = z + c * lanes + r * L;
                const V y = load<V>(at);
                V g = exp_quick(y - maximum[r]) * coefficient[r];
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
        for (index c = 0; c < padded; c += linear_filtered) {
            V largest{};
            for (index row = group * linear_rows; row < (group + 1) * linear_rows; row += lanes) {
                const T* const z = in.z(row / lanes, block) + c * lanes;
                for (index i = 0; i < linear_filtered * lanes; i += L) {
                    const V g = abs(load<V>(z + i));
                    largest = choose(g < eps, largest, splat<V>(1));  // NaN counts
                }
            }
            in.flags(block)[c / linear_filtered * in.groups() + group] = any<V>(largest > T(0));
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
    // other.
    O* pairs_of_classes(index panel) const { return reinterpret_cast<O*>(in.z(panel, block)); }
    O* along_rows(index panel) const { return pairs_of_classes(panel) + (depth == 1 ? 0 : padded / 2 * lanes); }
    void make_pairs(index panel) const {
        if constexpr (depth == 2) {
            T* const z = in.z(panel, block);
            O pairs[linear_block * lanes / 2];
            for (index c = 0; c < padded; ++c) operands_along<U>(z + c * lanes, lanes, pairs + c * lanes / 2);
            for (index c = 0; c < padded; c += 2)
                operands_across<U>(z + c * lanes, z + (c + 1) * lanes, lanes, pairs_of_classes(panel) + c / 2 * lanes);
            __builtin_memcpy(along_rows(panel), pairs, static_cast<std::size_t>(padded * lanes / 2) * sizeof(O));
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
        constexpr index stride = widest + 16, deep = linear_depth / lanes;
        for (index k = 0; k < a.features; k += widest) {
            const index wide = smaller(widest, a.features - k);
            for (index column = 0; column < wide; column += lanes)
                for (index panel = 0; panel < in.panels(); panel += deep)
                    for (index c = 0; c < n; c += tile_rows) {
                        tile_operands<U> of{along_rows(panel) + c * (lanes / depth), in.panel_stride(),
                                            in.x_columns((k + column) / lanes) + panel * (lanes / depth) * lanes,
                                            smaller(deep, in.panels() - panel), lanes / depth};
                        if (a.filter_eps > 0) {
                            of.counts = in.flags(block) + c / linear_filtered * in.groups() + panel * lanes / linear_rows;
                            of.counts_stride = 1;
                            of.steps_per_count = linear_rows / lanes;
                        }
                        multiply_tile<U, lanes / depth, 1>(of, sums + c * stride + column, stride, panel > 0);
                    }
            give(sums, stride, k, wide);
        }
    }
};

template <class U>
void dz_and_dw(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
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

// dx += dz w of the window, for tiles [begin, end) of features.
template <class U>
void add_dx(const linear_args& args, index begin, index end) {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using O = typename chunk::O;
    const chunk in(args);
    constexpr index lanes = chunk::lanes, depth = chunk::depth, most = linear_block / tile_rows;
    O* const packed = reinterpret_cast<O*>(args.scratch);  // [tile][class][feature]
    T numbers[depth][linear_block];
    O operands[linear_block];
    const index blocks = (in.window() + linear_block - 1) / linear_block;
    for (index b = 0; b < blocks; ++b) {
        const gradient_block<U> block{in, b, in.classes(b)};
        const index deep = block.padded / depth;
        for (index tile = begin; tile < end; tile += most) {
            const index tiles = smaller(most, end - tile), k = tile * tile_rows;
            const index wide = smaller(tiles * tile_rows, args.features - k);
            for (index c = 0; c < block.padded; c += depth) {
                for (index j = 0; j < depth; ++j) {
                    __builtin_memset(numbers[j], 0, sizeof numbers[j]);
                    const index row = args.begin + b * linear_block + c + j;
                    if (c + j < block.n) read_numbers(args.kind, args.w, row * args.features + k, wide, numbers[j]);
                }
                operands_across<U>(numbers[0], numbers[depth - 1], tiles * tile_rows, operands);
                for (index t = 0; t < tiles; ++t)
                    __builtin_memcpy(packed + (t * deep + c / depth) * tile_rows, operands + t * tile_rows,
                                     tile_rows * sizeof(O));
            }
            for (index t = 0; t < tiles; ++t)
                for (index panel = 0; panel < in.panels(); ++panel) {
                    tile_operands<U> of{packed + t * deep * tile_rows, 0, block.pairs_of_classes(panel), 1, deep};
                    if (args.filter_eps > 0) {
                        of.steps = block.padded / linear_filtered;
                        of.inner = linear_filtered / depth;
                        of.a_step = of.inner * tile_rows;
                        of.counts = in.flags(b) + panel * lanes / linear_rows;
                        of.counts_stride = in.groups();
                    }
                    multiply_tile<U, 1, tile_rows>(of, in.dx(panel) + (k + t * tile_rows) * lanes, lanes,
                                                   args.begin + b > 0);
                }
        }
    }
}

template <class U>
constexpr linear_kernels linear_kernels_of(const char* name) {
    return {name,     linear_chunk<U>::unit, pack_rows<U>, logits<U>,  merge<U>,
            finish_rows<U>, dz_and_dw<U>,          add_dx<U>,    give_dx<U>};
}

}  // namespace
}  // namespace lossk
