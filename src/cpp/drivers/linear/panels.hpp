// A chunk of rows as products want it: panels of x, and where everything is in the chunk's memory.
#pragma once

#include "tile.hpp"

namespace lossk {
namespace {

// Rows of a few hundred numbers, which a copy of bytes would begin too slowly.
template <class T>
inline void copy_numbers(const T* from, index n, T* to) {
    each_register<vec<T>>(n, [&](index i, auto reach) { reach.store(to + i, reach.load(from + i)); });
}
// n numbers of an array that holds them as `kind` says, from its element `begin` on.
template <class T>
inline void read_numbers(storage kind, const void* from, index begin, index n, T* to) {
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same) return widen_tile(kind, from, begin, n, to);
    copy_numbers(static_cast<const T*>(from) + begin, n, to);
}
template <class T>
inline void write_numbers(storage kind, const T* from, index n, void* to, index begin) {
    if constexpr (sizeof(T) == sizeof(float))
        if (kind != storage::same) return narrow_tile(kind, from, n, to, begin);
    copy_numbers(from, n, static_cast<T*>(to) + begin);
}

// Asks for n numbers of such an array, into L2: rows of a matrix are too short for the CPU to guess what comes next.
template <class T>
inline void prefetch_numbers(storage kind, const void* from, index begin, index n) {
    const index bytes = kind == storage::same ? static_cast<index>(sizeof(T)) : 2;
    const char* const p = static_cast<const char*>(from) + begin * bytes;
    for (index at = 0; at < n * bytes; at += line_bytes) prefetch(p, at);
}

// Operands of n numbers that follow each other in k; what is left of the last one is 0. Terms are `plane` apart.
template <class U>
inline void operands_along(const typename U::sum* x, index n, typename U::operand* to, index plane) {
    if constexpr (U::depth == 1) {
        __builtin_memcpy(to, x, static_cast<std::size_t>(n) * sizeof *x);
    } else if constexpr (U::terms == 1) {
        if (n % 2) to[n / 2] = 0;
        narrow_tile(x, n, reinterpret_cast<bf16*>(to));
    } else {
        for (index t = 0; t < U::terms && n % 2; ++t) to[t * plane + n / 2] = 0;
        each_register<vec<float>>(n, [&](index i, auto reach) {
            vec<float> rest = reach.load(x + i);
            for (index t = 0; t < U::terms; ++t)
                reach.store(reinterpret_cast<bf16*>(to + t * plane) + i, (vec<float>)take_bf16(rest));
        });
    }
}
// Operands of the numbers of two rows that follow each other in k; with a depth of 1 the first row alone.
template <class U>
inline void operands_across(const typename U::sum* x, const typename U::sum* next, index n, typename U::operand* to,
                            index plane) {
    if constexpr (U::depth == 1) {
        __builtin_memcpy(to, x, static_cast<std::size_t>(n) * sizeof *x);
    } else {
        each_register<vec<float>>(n, [&](index i, auto reach) {
            vec<float> rest = reach.load(x + i), next_rest = reach.load(next + i);
            for (index t = 0; t < U::terms; ++t) {
                const words32 first = take_bf16(rest), second = take_bf16(next_rest);
                reach.store(reinterpret_cast<float*>(to + t * plane) + i, (vec<float>)join_words(first, second));
            }
        });
    }
}

template <class U>
struct linear_chunk {
    using T = typename U::sum;
    using V = vec<T>;
    using O = typename U::operand;
    static constexpr index L = lossk::lanes<V>, lanes = U::lanes, depth = U::depth, widest = linear_depth;
    static constexpr int R = static_cast<int>(lanes / L);  // registers of a panel
    // Operands of so many features.
    static constexpr index operands(index features) { return (features + depth - 1) / depth; }
    // Features, or rows, that a product adds up: pairs twice as many, so that it is as long.
    static constexpr index deepest = U::in_registers ? linear_depth * depth : linear_depth;
    static constexpr linear_unit unit{lanes, U::rows, U::filtered, depth, sizeof(T), U::terms};

    const linear_args& a;
    const linear_layout l;

    explicit linear_chunk(const linear_args& args)
        : a(args), l(linear_layout_of(unit, args.rows, args.features, args.window, args.dx != nullptr)) {}

    template <class P>
    P* at(index offset) const {
        return reinterpret_cast<P*>(a.memory + offset);
    }
    index panels() const { return l.rows / lanes; }
    index groups() const { return l.rows / linear_rows; }
    // Whether exponentials take the place of logits in the first pass: where that pass leaves all of them, and nothing
    // else asks for logits.
    bool keeps_exponentials() const { return a.window >= a.classes && !(a.softcap > 0) && !a.keeps_logits; }
    // Where a block of the window is kept; null: nowhere.
    char* kept(index block) const {
        block += a.begin / linear_block;
        for (const linear_kept& k : a.kept) {
            if (block < k.blocks) return k.memory + block * k.stride;
            block -= k.blocks;
        }
        return nullptr;
    }
    // Whether the second pass finds exponentials, from the largest logit of their block on, or logits.
    bool finds_exponentials(index block) const { return keeps_exponentials() || kept(block); }
    index padded_features() const { return linear_up(a.features, U::filtered); }
    // Classes of the window, and of one of its blocks.
    index window() const { return smaller(a.window, a.classes - a.begin); }
    index classes(index block) const { return smaller(linear_block, window() - block * linear_block); }

    // [feature / deepest][panel][feature][lane]: all that products read at a time lies together. From feature k on.
    O* x_panel(index panel, index k) const {
        const index first = k / deepest * deepest, n = smaller(deepest, a.features - first);
        return at<O>(l.x_panels) + first / depth * l.rows + (panel * operands(n) + (k - first) / depth) * lanes;
    }
    // [panel of features][row][lane]
    O* x_columns(index panel) const { return at<O>(l.x_columns) + panel * (l.rows / depth) * lanes; }
    // [panel][feature][lane]
    T* dx(index panel) const { return at<T>(l.dx) + panel * padded_features() * lanes; }
    // How far the operands' terms are apart.
    index x_panels_plane() const { return l.rows * operands(a.features); }
    index x_columns_plane() const { return l.rows / depth * linear_up(a.features, lanes); }
    // Logits, then dz, of a block: [panel][class][lane], and after them the terms of dz
    T* z(index panel, index block) const { return at<T>(l.z) + panel * panel_stride() + block * z_block(); }
    index panel_stride() const { return l.classes * lanes * (a.dx ? U::terms : 1); }
    index z_block() const { return linear_block * lanes * (a.dx ? U::terms : 1); }
    T* block_numbers(index block, int which) const {
        return at<T>(l.block_sums) + (block * linear_block_numbers + which) * l.rows;
    }
    double* row_numbers(int which) const { return at<double>(l.row_sums) + which * l.rows; }
    // Whether blocks of dz count: [block of U::filtered classes][group of rows]
    std::uint8_t* flags(index block) const {
        return at<std::uint8_t>(l.flags) + block * (linear_block / U::filtered) * groups();
    }

    index place(index row) const { return a.at ? a.at[row] : row; }
    T weight_of_row(index row) const { return a.row_weight ? static_cast<const T*>(a.row_weight)[row] : T(1); }
    T weight_of_class(index c) const { return a.class_weight ? static_cast<const T*>(a.class_weight)[c] : T(1); }
    double keep_share() const { return 1.0 - a.label_smoothing; }
    double even_share() const { return a.label_smoothing / static_cast<double>(a.row_classes); }
    // Calls work(row, class within the block) for the labels of a panel that are in a block.
    template <class F>
    void each_label(index panel, index block, F&& work) const {
        const index first = a.begin + block * linear_block, n = classes(block);
        for (index row = panel * lanes; row < smaller((panel + 1) * lanes, a.rows); ++row)
            if (const index c = a.label[row] - first; c >= 0 && c < n) work(row, c);
    }
};

// Panels of x, by groups of rows; those that fill up the last group are 0.
template <class U>
void pack_rows(const linear_args& args, index begin, index end) {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    using O = typename chunk::O;
    const chunk in(args);
    constexpr index widest = chunk::widest, lanes = chunk::lanes, depth = chunk::depth;
    T numbers[depth][widest];
    O operands[U::terms][widest];
    for (index row = begin * linear_rows; row < end * linear_rows; row += depth)
        for (index k = 0; k < args.features; k += widest) {
            const index n = smaller(widest, args.features - k), padded = linear_up(n, lanes);
            for (index j = 0; j < depth; ++j) {
                __builtin_memset(numbers[j], 0, sizeof numbers[j]);
                if (row + j < args.rows)
                    read_numbers(args.kind, args.x, in.place(row + j) * args.features + k, n, numbers[j]);
                operands_along<U>(numbers[j], n, operands[0], widest);
                O* const to = in.x_panel((row + j) / lanes, k) + (row + j) % lanes;
                for (index t = 0; t < U::terms; ++t)
                    for (index i = 0; i < in.operands(n); ++i) to[t * in.x_panels_plane() + i * lanes] = operands[t][i];
            }
            if (!args.dx) continue;
            operands_across<U>(numbers[0], numbers[depth - 1], padded, operands[0], widest);
            for (index t = 0; t < U::terms; ++t)
                for (index i = 0; i < padded; i += lanes)
                    __builtin_memcpy(in.x_columns((k + i) / lanes) + t * in.x_columns_plane() + row / depth * lanes,
                                     operands[t] + i, lanes * sizeof(O));
        }
}

// Rows of dx, from the sums that are by panels, by groups of rows.
template <class U>
void give_dx(const linear_args& args, index begin, index end) {
    using chunk = linear_chunk<U>;
    using T = typename chunk::T;
    const chunk in(args);
    constexpr index widest = chunk::widest, lanes = chunk::lanes;
    T numbers[widest];
    for (index row = begin * linear_rows; row < smaller(end * linear_rows, args.rows); ++row)
        for (index k = 0; k < args.features; k += widest) {
            const index n = smaller(widest, args.features - k);
            const T* from = in.dx(row / lanes) + k * lanes + row % lanes;
            for (index i = 0; i < n; ++i) numbers[i] = from[i * lanes];
            write_numbers(args.dx_kind, numbers, n, args.dx, in.place(row) * args.features + k);
        }
}

}  // namespace
}  // namespace lossk
