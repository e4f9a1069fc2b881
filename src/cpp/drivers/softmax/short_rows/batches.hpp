// Softmax cross-entropy of short rows with labels or soft targets: what its kernels are given, and loop over.
#pragma once

#include "../../../base/attributes.hpp"
#include "../../../losses/cross_entropy_short_rows.hpp"
#include "../problem.hpp"

namespace lossk {
namespace {

// Labels as wide as the lanes.
template <class V, int... lane>
inline bits<V> low_halves(const std::int64_t* label, sequence<lane...>) {
    using T = lane_t<V>;
    const T* p = reinterpret_cast<const T*>(label);
    return (bits<V>)shuffle<(2 * lane)...>(load<V>(p), load<V>(p + lanes<V>));
}
template <class V>
inline bits<V> load_labels(const std::int64_t* label) {
    if constexpr (sizeof(lane_t<V>) == sizeof(float)) {
        return low_halves<V>(label, sequence_to<lanes<V>>{});
    } else {
        bits<V> t;
        __builtin_memcpy(&t, label, sizeof t);
        return t;
    }
}

// Rows in a batch: as many on every ISA, so that sums are.
template <class T>
constexpr int label_batch = 128 / static_cast<int>(sizeof(T));

// Batches that an f32 lane adds up exactly enough; it adds shares of losses, as losses may be as large as numbers are.
constexpr int batches_a_sum = 16;

// Losses so far, by the row's place in its batch, divided by batches_a_sum.
template <class T>
struct label_sum {
    vec<T> of[128 / register_bytes]{};
};

// Whole batches of rows that lie in memory as the kernel wants them; what is null is not given, or not wanted.
template <class T>
struct label_rows {
    T scale;  // of gradients
    smoothing<vec<T>> options;
    int classes;
    index rows = 0;
    const T* z = nullptr;  // (rows, classes)
    const std::int64_t* label = nullptr;
    const T* target = nullptr;  // (rows, classes), in the place of labels
    const T *weight = nullptr, *label_weight = nullptr;
    T* g = nullptr;
    T* each = nullptr;

    // What is said of single rows, from the `row`-th on: their weights, those of their labels, their weighted losses.
    template <class V>
    V weights(index row) const {
        return weight ? load<V>(weight + row) : splat<V>(1);
    }
    // The rows that weigh 0: they do not count, whatever they hold.
    template <class V>
    bits<V> weightless(index row) const {
        return weight ? load<V>(weight + row) == T(0) : bits<V>{};
    }
    template <class V>
    V label_weights(index row) const {
        return label_weight ? load<V>(label_weight + row) : splat<V>(1);
    }
    template <class Loss, class V = decltype(Loss::loss)>
    void weigh(index row, bits<V> counts, Loss& loss) const {
        if constexpr (Loss::weighs_labels)
            if (label_weight) loss.weigh_label(load<V>(label_weight + row));
        if (weight) loss.weigh(keep(counts, load<V>(weight + row)));
    }
    template <class V>
    void keep_losses(index row, V losses) const {
        if (each) store(each + row, losses);
    }
};

// Calls work(c) for `fixed` classes, or for as many as there are.
template <int fixed, class F>
inline void each_class(int classes, F&& work) {
    if constexpr (fixed > 0)
        unrolled<fixed>(work);
    else
        for (int c = 0; c < classes; ++c) work(c);
}

// All batches of a kernel, whose run_batch(a, row, part) adds up losses and writes gradients.
template <class Kernel, class T>
[[LOSSK_SIDE_BY_SIDE]] void run_label_batches(const label_rows<T> a, label_sum<T>& losses) {
    constexpr int K = label_batch<T> / lanes<vec<T>>;
    vec<T> part[K];
    unrolled<K>([&](auto k) { part[k] = losses.of[k]; });
    for (index row = 0; row < a.rows; row += label_batch<T>) Kernel::run_batch(a, row, part);
    unrolled<K>([&](auto k) { losses.of[k] = part[k]; });
}

}  // namespace
}  // namespace lossk
