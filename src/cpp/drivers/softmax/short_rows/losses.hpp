// Softmax cross-entropy of short rows with labels or soft targets: which rows of memory go to which kernel, and how.
#pragma once

#include "labels.hpp"
#include "soft_targets.hpp"

namespace lossk {
namespace {

// Kernels by number of classes, 0: any from 4 on. Those of 2 and 3 classes are others: registers hold columns by fours.
// Of 4 to 10 classes loops vanish where the number is known, which is worth 1.13 to 1.19 in f32 by AVX-512 (1.06
// to 1.40 by AVX2), but 1.0 to 1.05 (1.1 to 1.2) in f64: value and gradient of rows in L1, EPYC (Zen 4).
template <class T>
struct label_kernels {
    using kernel = void (*)(const label_rows<T>, label_sum<T>&);
    struct choice {
        int classes;
        kernel run;
    };
    template <int classes>
    static constexpr int known = sizeof(T) == sizeof(float) ? classes : 0;

    static constexpr choice targets[] = {
        {2, run_label_batches<soft_target_rows<T, 2>, T>},
        {3, run_label_batches<soft_target_rows<T, 3>, T>},
        {0, run_label_batches<soft_target_rows<T, 0>, T>},
    };
    static constexpr choice smoothed[] = {
        {2, run_label_batches<labelled_rows<T, 2, true, smoothed_loss>, T>},
        {3, run_label_batches<labelled_rows<T, 3, true, smoothed_loss>, T>},
        {0, run_label_batches<labelled_rows<T, 0, true, smoothed_loss>, T>},
    };
    static constexpr choice weighted[] = {
        {2, run_label_batches<labelled_pairs<T, true, true>, T>},
        {3, run_label_batches<labelled_rows<T, 3, true>, T>},
        {0, run_label_batches<labelled_rows<T, 0, true>, T>},
    };
    static constexpr choice labels[] = {
        {2, run_label_batches<labelled_pairs<T, true, false>, T>},
        {3, run_label_batches<labelled_rows<T, 3, false>, T>},
        {4, run_label_batches<labelled_rows<T, known<4>, false>, T>},
        {5, run_label_batches<labelled_rows<T, known<5>, false>, T>},
        {6, run_label_batches<labelled_rows<T, known<6>, false>, T>},
        {7, run_label_batches<labelled_rows<T, known<7>, false>, T>},
        {8, run_label_batches<labelled_rows<T, known<8>, false>, T>},
        {10, run_label_batches<labelled_rows<T, known<10>, false>, T>},
        {0, run_label_batches<labelled_rows<T, 0, false>, T>},
    };
    static constexpr choice labels_without_gradient[] = {
        {2, run_label_batches<labelled_pairs<T, false, false>, T>},
    };

    static const choice* of_kind(const label_rows<T>& a) {
        if (a.target) return targets;
        if (a.options.share > 0 || a.options.z_loss != T(0)) return smoothed;
        if (a.weight || a.label_weight || a.each) return weighted;
        return a.classes == 2 && !a.g ? labels_without_gradient : labels;
    }
    static void run(const label_rows<T>& a, label_sum<T>& losses) {
        const choice* here = of_kind(a);
        while (here->classes != 0 && here->classes != a.classes) ++here;
        here->run(a, losses);
    }
};

template <class T>
class short_row_losses {
    static constexpr index B = label_batch<T>;
    static constexpr index buffer_size = short_row_classes * B;  // elements

    const softmax_args& a;
    const softmax_problem<T> in{a};
    const int classes = static_cast<int>(a.classes);
    const T scale = static_cast<T>(a.scale);
    const smoothing<vec<T>> options{static_cast<T>(a.label_smoothing), in.keep_share, in.even_share,
                                    static_cast<T>(a.z_loss)};
    alignas(line_bytes) T z_buffer[buffer_size], y_buffer[buffer_size], g_buffer[buffer_size];
    T of_label[batches_a_sum * B];  // class weights of rows
    line_stream<T, buffer_size> past;

    static void copy(const T* from, index n, T* to) {
        __builtin_memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
    }

    // The weights of labels. Another thread may change these meanwhile: a single look at each.
    const T* label_weights(const std::int64_t* label, index n) {
        if (!in.class_weight) return nullptr;
        for (index j = 0; j < n; ++j) {
            const auto t = static_cast<std::uint64_t>(__atomic_load_n(label + j, __ATOMIC_RELAXED));
            of_label[j] = t < static_cast<std::uint64_t>(classes) ? in.class_weight[t] : T(0);
        }
        return of_label;
    }

    // Whole batches, of which the first n rows are those from `row` on: their gradient by way of a buffer if need be.
    void run_batches(label_rows<T> of, index row, index n, label_sum<T>& part) {
        const index first = row * classes, count = n * classes;
        const bool by_buffer = in.narrow || n < of.rows;
        if (a.g) of.g = a.streaming ? past.here() : by_buffer ? g_buffer : static_cast<T*>(a.g) + first;
        label_kernels<T>::run(of, part);
        if (!a.g) return;
        if (a.streaming)
            past.push(count);
        else if (in.narrow)
            in.write_narrow(g_buffer, count, a.g, first);
        else if (by_buffer)
            copy(g_buffer, count, static_cast<T*>(a.g) + first);
    }

    // Rows [row, row + n), whole batches, from where they lie.
    void run_whole(index row, index n, label_sum<T>& part) {
        const index first = row * classes, count = n * classes;
        label_rows<T> of{scale, options, classes};
        of.rows = n;
        of.z = in.read(a.z, first, count, z_buffer);
        if (a.target) of.target = in.read(a.target, first, count, y_buffer);
        if (a.label) {
            of.label = a.label + row;
            of.label_weight = label_weights(of.label, n);
        }
        if (in.row_weight) of.weight = in.row_weight + row;
        if (in.each) of.each = in.each + row;
        run_batches(of, row, n, part);
    }

    // Rows in a buffer for a batch of them, and zeros after them.
    const T* copied(const void* array, index row, index n, T* to) const {
        const T* from = in.read(array, row * classes, n * classes, to);
        if (from != to) copy(from, n * classes, to);
        for (index i = n * classes; i < B * classes; ++i) to[i] = T(0);
        return to;
    }
    // The last rows, fewer than a batch, from a copy that fills one: the others have no label, and weigh nothing.
    void run_rest(index row, index n, label_sum<T>& part) {
        std::int64_t label[B];
        T weight[B], each[B];
        for (index j = 0; j < B; ++j) {
            label[j] = j < n && a.label ? a.label[row + j] : -1;
            weight[j] = j < n ? in.weight(row + j) : T(0);
        }
        label_rows<T> of{scale, options, classes};
        of.rows = B;
        of.z = copied(a.z, row, n, z_buffer);
        if (a.target) of.target = copied(a.target, row, n, y_buffer);
        of.label = label;
        of.label_weight = label_weights(label, B);
        if (in.row_weight || a.target) of.weight = weight;
        if (in.each) of.each = each;
        run_batches(of, row, n, part);
        if (in.each) copy(each, n, in.each + row);
    }

public:
    // Labels or probabilities, and options that say the same of every class.
    static bool serves(const softmax_args& a) {
        const bool linear = a.target || a.label_smoothing > 0 || a.z_loss != 0;
        const bool plain = only_smooths(a) && !(linear && a.class_weight);
        return (a.label || a.target) && a.classes >= 2 && a.output == row_output::loss && plain && !a.h;
    }

    short_row_losses(const softmax_args& args, index begin)
        : a(args), past(args.g ? static_cast<T*>(args.g) + begin * args.classes : nullptr) {}

    double run(index begin, index end) {
        constexpr index rows_a_sum = batches_a_sum * B;
        const index step = in.narrow || a.streaming ? buffer_size / classes / B * B : rows_a_sum;
        lane_sum<T, label_batch<T> / lanes<vec<T>>> total;
        for (index first = begin; first < end; first += rows_a_sum) {
            label_sum<T> part;
            const index last = smaller(first + rows_a_sum, end), whole = first + (last - first) / B * B;
            for (index row = first; row < whole; row += step) run_whole(row, smaller(step, whole - row), part);
            if (whole < last) run_rest(whole, last - whole, part);
            total.add_all(part.of);
        }
        if (a.streaming) stream_fence();
        return batches_a_sum * total.result();
    }
};

}  // namespace
}  // namespace lossk
