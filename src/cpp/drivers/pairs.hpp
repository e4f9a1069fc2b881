// Pairs and triplets of rows: the loss of how they lie to each other, and its gradients with respect to all of them.
//
// A formula has `inputs`, 2 or 3, and either, for rows (`sums` numbers, added up over the row),
//     gather(x, s)             what a register of elements of each input adds to each sum
//     row(sums, y)             from the sums and the row's target: its value, and what the gradients share
//     element(x, shared, g)    gradients of a register of elements of each input
// or, where every element is a pair by itself (`single`),
//     operator()(x, y, g)      value and gradients of a register of pairs
// One kernel serves value and gradients: each gradient is written where somebody wants it.
#pragma once

#include "reduce.hpp"
#include "groups.hpp"

namespace lossk {
namespace {

template <class Formula>
constexpr bool is_single = requires { Formula::single; };

template <class Formula, class T>
class pairs_driver {
    using V = vec<T>;
    static constexpr int inputs = Formula::inputs;
    static constexpr int K = 128 / register_bytes;

    // Pieces of all inputs, or of all gradients; null: not wanted.
    struct arrays {
        const T* x[inputs];
        T* g[inputs];
    };

    const pairs_args& a;
    const Formula formula{a.parameters};
    const bool derives = a.g[0] || a.g[1] || a.g[2];
    piece_buffer<T> x_[inputs], g_[inputs];

    arrays read(index i, index n) {
        arrays at{};
        for (int k = 0; k < inputs; ++k) at.x[k] = x_[k].read(a.kind, a.x[k], i, n);
        return at;
    }
    void place(arrays& at, index i) {
        for (int k = 0; k < inputs; ++k) at.g[k] = a.g[k] ? g_[k].place(a.kind, a.g[k], i) : nullptr;
    }
    void write(index i, index n) {
        for (int k = 0; k < inputs; ++k)
            if (a.g[k]) g_[k].write(a.kind, a.g[k], i, n);
    }
    void clear(index begin, index end) {
        for (int k = 0; k < inputs; ++k)
            if (a.g[k]) clear_elements<T>(a.kind, a.g[k], begin, end);
    }

    template <class Reach>
    static void load_all(const arrays& at, index j, Reach reach, V (&x)[inputs]) {
        unrolled<inputs>([&](auto k) { x[k] = reach.load(at.x[k] + j); });
    }
    template <class Reach>
    static void store_all(const arrays& at, index j, Reach reach, const V (&g)[inputs], V factor) {
        unrolled<inputs>([&](auto k) {
            if (at.g[k]) reach.store(at.g[k] + j, g[k] * factor);
        });
    }

    static double number(const void* from, index i) {
        return from ? static_cast<double>(static_cast<const T*>(from)[i]) : 1.0;
    }

    // ---- rows -----------------------------------------------------------------------------------------------------

    template <int sums>
    [[gnu::noinline]] static void gather_loop(const Formula formula, const arrays at, index n,
                                              lane_sum<T, K> (&total)[sums]) {
        each_register<V>(n, [&](index j, auto reach) {
            const int k = static_cast<int>(j / lanes<V> % K);
            V x[inputs], s[sums]{};
            load_all(at, j, reach, x);
            formula.gather(x, s);
            unrolled<sums>([&](auto i) { total[i].add(k, reach.mask(s[i])); });
        });
        for (auto& t : total) t.flush();
    }
    template <class S>
    [[gnu::noinline]] static void element_loop(const Formula formula, const S shared, const arrays at, index n,
                                               T factor) {
        each_register<V>(n, [&](index j, auto reach) {
            V x[inputs], g[inputs];
            load_all(at, j, reach, x);
            formula.element(x, shared, g);
            store_all(at, j, reach, g, splat<V>(factor));
        });
    }

    // The loss of a row, weighed. A row of weight 0 does not count, whatever it holds.
    double run_row(index row) {
        const index begin = row * a.length, end = begin + a.length;
        const double w = number(a.w, row);
        if (w == 0) {
            clear(begin, end);
            return 0;
        }
        lane_sum<T, K> total[Formula::sums]{};
        each_piece(begin, end, [&](index i, index n) { gather_loop(formula, read(i, n), n, total); });
        double sums[Formula::sums];
        for (int i = 0; i < Formula::sums; ++i) sums[i] = total[i].result();
        const auto [value, shared] = formula.row(sums, number(a.target, row));
        if (derives)
            each_piece(begin, end, [&, &of_row = shared](index i, index n) {
                arrays at = read(i, n);
                place(at, i);
                element_loop(formula, of_row, at, n, static_cast<T>(w * a.scale));
                write(i, n);
            });
        return value * w;
    }

    double run_rows(index begin, index end) {
        double total = 0;
        for (index row = begin; row < end; ++row) {
            const double value = run_row(row);
            if (a.each) static_cast<T*>(a.each)[row] = static_cast<T>(value);
            total += value;
        }
        return total;
    }

    // ---- single pairs ---------------------------------------------------------------------------------------------

    [[gnu::noinline]] static void single_loop(const Formula formula, const arrays at, const T* y, const T* w, T* each,
                                              index n, T scale, lane_sum<T, K>& total) {
        each_register<V>(n, [&](index j, auto reach) {
            const int k = static_cast<int>(j / lanes<V> % K);
            V x[inputs], g[inputs];
            load_all(at, j, reach, x);
            V value = formula(x, reach.load(y + j), g);
            if (w) {
                const V weight = reach.load(w + j);
                const bits<V> counts = weight != T(0);
                value = keep(counts, value * weight);
                for (V& of : g) of = keep(counts, of * weight);
            }
            total.add(k, reach.mask(value));
            if (each) reach.store(each + j, value);
            store_all(at, j, reach, g, splat<V>(scale));
        });
        total.flush();
    }

    double run_singles(index begin, index end) {
        const auto from = [](auto* p, index i) { return p ? static_cast<T*>(const_cast<void*>(p)) + i : nullptr; };
        lane_sum<T, K> total{};
        each_piece(begin, end, [&](index i, index n) {
            arrays at = read(i, n);
            place(at, i);
            single_loop(formula, at, from(static_cast<const void*>(a.target), i),
                        from(static_cast<const void*>(a.w), i), from(static_cast<const void*>(a.each), i), n,
                        static_cast<T>(a.scale), total);
            write(i, n);
        });
        return total.result();
    }

public:
    explicit pairs_driver(const pairs_args& args) : a(args) {}

    double run(index begin, index end) {
        if constexpr (is_single<Formula>)
            return run_singles(begin, end);
        else
            return run_rows(begin, end);
    }
};

template <class Formula, class T>
double pairs(const pairs_args& a, index begin, index end) {
    return pairs_driver<Formula, T>(a).run(begin, end);
}

}  // namespace
}  // namespace lossk
