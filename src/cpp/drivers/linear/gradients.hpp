// Second pass: logits become dz, block by block, and dz meets x and w while it is in the caches.
#pragma once

#include "../../simd/transpose.hpp"
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
        const bool keeps = in.keeps_exponentials();
        V maximum[R], coefficient[R], share[R];
        bits<V> counts[R];
        for (int r = 0; r < R; ++r) {
            const index row = panel * lanes + r * L;
            maximum[r] = of_rows(row_maximum, row);
            coefficient[r] = of_rows(row_coefficient, row);
            if (keeps) coefficient[r] *= exp_quick(load<V>(in.block_numbers(block, largest_logit) + row) - maximum[r]);
            share[r] = of_rows(row_share, row);
            counts[r] = first_lanes<V>(static_cast<int>(a.rows < row ? 0 : smaller(L, a.rows - row)));
        }
        const bool smooths = a.label_smoothing > 0, capped = a.softcap > 0;
        for (index c = 0; c < n; ++c) {
            const T weight = smooths ? in.weight_of_class(a.begin + block * linear_block + c) : T(0);
            for (int r = 0; r < R; ++r) {
                T* const at = z + c * lanes + r * L;
                const V y = load<V>(at);
                V g = (keeps ? y : exp_quick(y - maximum[r])) * coefficient[r];
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
        constexpr index stride = widest + 16, deep = linear_depth / lanes;
        static_assert(linear_block * stride * index{sizeof(T)} <= linear_scratch(chunk::unit));
        for (index k = 0; k < a.features; k += widest) {
            const index wide = smaller(widest, a.features - k);
            for (index column = 0; column < wide; column += lanes)
                for (index panel = 0; panel < in.panels(); panel += deep)
                    for (index c = 0; c < n; c += U::rows) {
                        tile_operands<U> of{along_rows(panel) + c * (lanes / depth), in.panel_stride(),
                                            in.x_columns((k + column) / lanes) + panel * (lanes / depth) * lanes,
                                            smaller(deep, in.panels() - panel), lanes / depth};
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

// dx += dz w of the window, for tiles of features.
template <class U>
struct dx_sums {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using V = typename chunk::V;
    using O = typename chunk::O;
    static constexpr index lanes = chunk::lanes, depth = chunk::depth;
    static constexpr index most = linear_block / 2 / U::rows;  // tiles at once: 127 KB in f32
    static constexpr int step = U::filtered / depth;           // operands of a step
    // Registers want a step's operands by classes, [class][feature]; tiles by features, each in a line of its own.
    static constexpr int feature_stride = U::in_registers ? 1 : line_bytes / sizeof(O);
    static constexpr int class_stride = U::in_registers ? U::rows : 1;
    static constexpr index step_operands = U::rows * (U::in_registers ? step : feature_stride);
    static constexpr index steps_of_block = linear_block / U::filtered;

    static_assert((most * steps_of_block * step_operands + (U::in_registers ? 0 : feature_stride * most * U::rows)) *
                      index{sizeof(O)} <=
                  linear_scratch(chunk::unit));

    const chunk& in;
    O* const packed = reinterpret_cast<O*>(in.a.scratch);  // [tile][step]

    O* packed_tile(index t) const { return packed + t * steps_of_block * step_operands; }

    index blocks() const { return (in.window() + linear_block - 1) / linear_block; }
    index wide(index tile, index tiles) const { return smaller(tiles * U::rows, in.a.features - tile * U::rows); }

    // The k-th row of operands, to each tile its own.
    void give_tiles(const O* from, index k, index tiles) const {
        if constexpr (U::in_registers) {
            for (index t = 0; t < tiles; ++t)
                __builtin_memcpy(packed_tile(t) + k * U::rows, from + t * U::rows, U::rows * sizeof(O));
        } else {
            O* const rows = packed_tile(most);
            __builtin_memcpy(rows + k % step * most * U::rows, from,
                             static_cast<std::size_t>(tiles * U::rows) * sizeof(O));
            if (k % step == step - 1) transpose_step(rows, k / step, tiles);
        }
    }
    // Rows of a step, to lines of features; what a line has past the step is not read.
    void transpose_step(const O* rows, index at_step, index tiles) const {
        constexpr index n = columns<V>, L = chunk::L;
        static_assert(U::rows % n == 0 && feature_stride % L == 0);
        for (index f = 0; f < tiles * U::rows; f += n) {
            O* const to = packed_tile(f / U::rows) + at_step * step_operands + f % U::rows * feature_stride;
            for (index k = 0; k < feature_stride; k += L) {
                V r[n];
                load_columns<V>(reinterpret_cast<const float*>(rows + k * most * U::rows) + f, most * U::rows, r);
                for (index i = 0; i < n; ++i) store(reinterpret_cast<float*>(to + i * feature_stride + k), r[i]);
            }
        }
    }

    // Classes of a block of w, as the tiles want them.
    void pack(const gradient_block<U>& block, index tile, index tiles) const {
        const linear_args& a = in.a;
        const index n = wide(tile, tiles);
        T numbers[depth][most * U::rows]{};
        O operands[most * U::rows];
        const bool direct = depth == 1 && a.kind == storage::same && n == tiles * U::rows;
        const auto* const w = static_cast<const T*>(a.w) + (a.begin + block.block * linear_block) * a.features;
        for (index c = 0; c < block.padded; c += depth) {
            if constexpr (depth == 1) {
                if (direct && c < block.n) {
                    give_tiles(w + c * a.features + tile * U::rows, c, tiles);
                    continue;
                }
            } else if (a.kind == storage::bf16 && n == tiles * U::rows && c + 1 < block.n) {
                const auto* const row = static_cast<const bf16*>(a.w) +
                                        (a.begin + block.block * linear_block + c) * a.features + tile * U::rows;
                each_register<V>(n, [&](index i, auto reach) {
                    const V low = reach.load(row + i), high = reach.load(row + a.features + i);
                    reach.store(reinterpret_cast<float*>(operands) + i, (V)(((words32)low >> 16) | (words32)high));
                });
                give_tiles(operands, c / depth, tiles);
                continue;
            }
            for (index j = 0; j < depth; ++j) {
                const index row = a.begin + block.block * linear_block + c + j;
                if (c + j < block.n)
                    read_numbers(a.kind, a.w, row * a.features + tile * U::rows, n, numbers[j]);
                else
                    __builtin_memset(numbers[j], 0, sizeof numbers[j]);
            }
            if constexpr (depth == 1) {
                give_tiles(numbers[0], c, tiles);
            } else {
                operands_across<U>(numbers[0], numbers[1], tiles * U::rows, operands);
                give_tiles(operands, c / depth, tiles);
            }
        }
    }

    // Asks for a part of what comes next: the same classes of the next tiles, or the next block's. In parts, as what
    // the tiles read would wait behind it.
    void prefetch_next(const gradient_block<U>& block, index begin, index tile, index end, index part,
                       index parts) const {
        const linear_args& a = in.a;
        const bool last = tile + most >= end;
        const index next = last ? begin : tile + most, n = wide(next, smaller(most, end - next));
        const index first = a.begin + (block.block + last) * linear_block;
        for (index c = part * linear_block / parts; c < (part + 1) * linear_block / parts; ++c)
            if (first + c < a.classes) prefetch_numbers<T>(a.kind, a.w, (first + c) * a.features + next * U::rows, n);
        if (!last || block.block + 1 >= blocks()) return;
        const index tiles = parts / in.panels(), n_z = linear_block * lanes / tiles;
        prefetch_numbers<T>(storage::same, in.z(part % in.panels(), block.block + 1), part / in.panels() * n_z, n_z);
    }

    // The product of a tile of features with every panel; ahead(panel) comes before each.
    template <class F>
    void multiply(const gradient_block<U>& block, index tile, index t, F&& ahead) const {
        const linear_args& a = in.a;
        const index steps = block.padded / U::filtered;
        for (index panel = 0; panel < in.panels(); ++panel) {
            ahead(panel);
            tile_operands<U> of{packed_tile(t), step_operands, block.pairs_of_classes(panel), steps, step};
            if (U::in_registers && !(a.filter_eps > 0)) of.steps = 1, of.inner = steps * step;
            if (a.filter_eps > 0) {
                of.counts = in.flags(block.block) + panel * lanes / linear_rows;
                of.counts_stride = in.groups();
            }
            T* const to = in.dx(panel) + (tile + t) * U::rows * lanes;
            multiply_tile<U, feature_stride, class_stride, step>(of, to, lanes, a.begin + block.block > 0);
        }
    }
};

template <class U>
void add_dx(const linear_args& args, index begin, index end) {
    const linear_chunk<U> in(args);
    [[maybe_unused]] const typename U::session open{dx_sums<U>::step};
    const dx_sums<U> sums{in};
    for (index b = 0; b < sums.blocks(); ++b) {
        const gradient_block<U> block{in, b, in.classes(b)};
        for (index tile = begin; tile < end; tile += sums.most) {
            const index tiles = smaller(sums.most, end - tile);
            sums.pack(block, tile, tiles);
            for (index t = 0; t < tiles; ++t)
                sums.multiply(block, tile, t, [&](index panel) {
                    sums.prefetch_next(block, begin, tile, end, t * in.panels() + panel, tiles * in.panels());
                });
        }
    }
}

template <class U>
constexpr linear_kernels linear_kernels_of(const char* name, bool (*is_right)() = nullptr) {
    return {name,         linear_chunk<U>::unit,
            pack_rows<U>, logits<U>,
            merge<U>,     normalise_rows<U>,
            dz_and_dw<U>, add_dx<U>,
            give_dx<U>,   is_right};
}

}  // namespace
}  // namespace lossk
