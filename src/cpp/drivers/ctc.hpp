// CTC of samples, one after another: forward over the lattice, then backward, where each time's gradient is written.
//
// A lane is a state. Blanks and labels are rows of their own, so that a state's predecessors lie beside it. Rows are
// relative to a reference near their largest state, which is kept in f64: f32 is exact enough for any number of times.
#pragma once

#include "../losses/ctc.hpp"
#include "groups.hpp"
#include "reduce.hpp"

namespace lossk {
namespace {

template <class T>
class ctc_driver {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr T none = -T(__builtin_inf());
    struct states {
        T *blank, *label;
    };

    const ctc_args& a;
    const index row = ctc_row(a), kept = ctc_kept(a);
    double* const reference = static_cast<double*>(a.scratch);  // of the row before time t
    T* const rows = reinterpret_cast<T*>(reference + a.times + 1);
    T* const own = rows + 2 * row * kept + ctc_margin;
    const states after{own, own + row};  // what can come after a time, from the emission of the next time on
    T *const emission = own + 2 * row, *const apart = own + 3 * row, *const occupied = own + 4 * row;
    T* const wide = own + 6 * row - ctc_margin;  // a row of z of 16 bits, and of the gradient
    // Of the present sample:
    const std::int64_t* label = nullptr;
    index sample = 0, labels = 0;
    bool is_nan = false;

    // The row before time t; the last may be asked for at its end.
    states before(index t) const {
        T* const p = rows + t % kept * 2 * row + ctc_margin;
        return {p, p + row};
    }
    index first_element(index t) const { return (t * a.samples + sample) * a.classes; }

    const T* read(index t) const {
        if (a.kind == storage::same) return static_cast<const T*>(a.z) + first_element(t);
        if constexpr (sizeof(T) == sizeof(float)) widen_tile(a.kind, a.z, first_element(t), a.classes, wide);
        return wide;
    }

    // The labels' log-probabilities; returns the blank's.
    T emit(const T* z) {
        for (index k = 0; k < labels; ++k) {
            emission[k] = z[label[k]];
            is_nan |= emission[k] != emission[k];
        }
        is_nan |= z[a.blank] != z[a.blank];
        return z[a.blank];
    }

    static void fill(T* p, index n, T x) {
        for (index i = 0; i < n; ++i) p[i] = x;
    }
    void start(index of) {
        sample = of;
        label = a.label + a.first[of];
        labels = a.first[of + 1] - a.first[of];
        is_nan = false;
        const states first = before(0);
        T* const empty[] = {first.blank, first.label, after.blank, after.label, emission, apart};
        for (T* const p : empty) fill(p - 1, row - ctc_margin + 1, none);
        for (index k = 1; k < labels; ++k)
            if (label[k] != label[k - 1]) apart[k] = 0;
        first.blank[0] = after.blank[labels] = 0;
    }

    // One time forward; returns the largest state, which was `less` before and is left out.
    [[gnu::noinline]] T step(const states from, const states to, T blank, T less) const {
        V top = splat<V>(none);
        to.label[-1] = none;
        for (index k = 0; k <= labels; k += L) {
            const V b = load<V>(from.blank + k), y = load<V>(from.label + k), last = load<V>(from.label + k - 1);
            const V blanks = log_add(b, last) + (blank - less);
            const V letters = log_add(y, b, last + load<V>(apart + k)) + (load<V>(emission + k) - less);
            store(to.blank + k, blanks);
            store(to.label + k, letters);
            top = max(top, max(blanks, letters));
        }
        return largest_lane(top);
    }

    // How probable it is that a path is in any blank, and in any state at all: 1, but for the rounding of all times
    // before and after, which is thus known.
    struct sums {
        T blanks, all;
    };

    // One time back: leaves how probable it is that a path is in each label then.
    [[gnu::noinline]] T step_back(const states at, T offset, T blank, T less, sums& found) const {
        V top = splat<V>(none), of_blanks{}, of_labels{};
        for (index k = 0; k <= labels; k += L) {
            const V b = load<V>(after.blank + k), next = load<V>(after.blank + k + 1);
            const V y = load<V>(after.label + k), other = load<V>(after.label + k + 1) + load<V>(apart + k + 1);
            const V blanks = log_add(b, y), letters = log_add(y, next, other);
            const V here = exp_flush(load<V>(at.label + k) + letters + offset);
            of_blanks += exp_flush(load<V>(at.blank + k) + blanks + offset);
            of_labels += here;
            store(occupied + k, here);
            store(after.blank + k, blanks + (blank - less));
            store(after.label + k, letters + (load<V>(emission + k) - less));
            top = max(top, max(load<V>(after.blank + k), load<V>(after.label + k)));
        }
        const auto add = [](V x, V y) { return x + y; };
        found = {fold_lanes(of_blanks, add), fold_lanes(of_blanks + of_labels, add)};
        return largest_lane(top);
    }

    static T reference_of(T top) { return top > none ? top : T(0); }

    double forward(index times) {
        T less = 0;
        reference[0] = 0;
        for (index t = 0; t < times; ++t) {
            const T blank = emit(read(t));
            reference[t + 1] = reference[t] + static_cast<double>(less);
            less = reference_of(step(before(t), before(t + 1), blank, less));
        }
        const states last = before(times);
        const V end = log_add(splat<V>(last.blank[labels]), splat<V>(last.label[labels - 1]));
        return is_nan ? __builtin_nan("") : -(reference[times] + static_cast<double>(end[0]));
    }

    void backward(index times, double loss, T factor) {
        double later = 0;
        T less = 0;
        sums found{};
        for (index t = times; t-- > 0;) {
            const T* const z = read(t);
            const T blank = emit(z);
            const T offset = static_cast<T>(reference[t + 1] + later + loss);
            later += static_cast<double>(less);
            less = reference_of(step_back(before(t + 1), offset, blank, less, found));
            write(t, z, found, factor);
        }
    }

    // exp(z) less how probable each class is in the paths; z may be where the gradient goes.
    [[gnu::noinline]] void write(index t, const T* z, sums found, T factor) const {
        const T share = factor / found.all;
        const bool narrow = a.kind != storage::same;
        T* const g = narrow ? wide : static_cast<T*>(a.g) + first_element(t);
        each_register<V>(a.classes,
                         [&](index i, auto reach) { reach.store(g + i, exp_over(reach.load(z + i)) * factor); });
        for (index k = 0; k < labels; ++k) g[label[k]] -= occupied[k] * share;
        g[a.blank] -= found.blanks * share;
        if constexpr (sizeof(T) == sizeof(float))
            if (narrow) narrow_tile(a.kind, g, a.classes, a.g, first_element(t));
    }

    // Gradients that are all the same: 0 past a sample's end, NaN where its loss is no number.
    void write_all(index begin, index end, T x) const {
        for (index t = begin; t < end; ++t) {
            if (x == 0) {
                clear_elements<T>(a.kind, a.g, first_element(t), first_element(t) + a.classes);
            } else if (a.kind == storage::same) {
                fill(static_cast<T*>(a.g) + first_element(t), a.classes, x);
            } else if constexpr (sizeof(T) == sizeof(float)) {
                fill(wide, a.classes, x);
                narrow_tile(a.kind, wide, a.classes, a.g, first_element(t));
            }
        }
    }

public:
    explicit ctc_driver(const ctc_args& args) : a(args) {}

    void run(index of) {
        start(of);
        const index times = a.length[of];
        const double loss = forward(times);
        const bool possible = loss < __builtin_inf(), left_out = a.zero_infinity && loss == __builtin_inf();
        a.each[of] = left_out ? 0 : loss;
        if (!a.g) return;
        const auto factor = static_cast<T>(a.factor[of]);
        if (factor == 0 || left_out)
            write_all(0, times, T(0));
        else if (possible)
            backward(times, loss, factor);
        else
            write_all(0, times, T(__builtin_nan("")));
        write_all(times, a.times, T(0));
    }
};

template <class T>
void ctc(const ctc_args& a, index begin, index end) {
    ctc_driver<T> driver(a);
    for (index sample = begin; sample < end; ++sample) driver.run(sample);
}

}  // namespace
}  // namespace lossk
