// Labels of any integer type: checked against the number of classes, weighed, and brought to one type if need be.
#pragma once

#include "../base/types.hpp"

namespace lossk {
namespace {

template <class I>
struct label_driver {
    const label_args& a;
    const I* label = static_cast<const I*>(a.label);
    const std::uint64_t classes = static_cast<std::uint64_t>(a.classes);
    const bool can_ignore = a.ignores && (I(-1) < I(0) || a.ignore_index >= 0);

    // An unsigned 64-bit label past 2^63 becomes negative here, and is out of range either way. Another thread may
    // change labels meanwhile: what is done with one must follow from a single look at it.
    std::int64_t at(index i) const { return static_cast<std::int64_t>(label[i]); }
    bool ignored(std::int64_t t) const { return can_ignore & (t == a.ignore_index); }
    bool good(std::int64_t t) const { return !ignored(t) & (static_cast<std::uint64_t>(t) < classes); }

    template <class T>
    double weight(index begin, index end) const {
        const T* const class_weight = static_cast<const T*>(a.class_weight);
        const T* const row_weight = static_cast<const T*>(a.row_weight);
        double sum = 0;
        for (index i = begin; i < end; ++i) {
            const auto t = static_cast<std::int64_t>(__atomic_load_n(label + i, __ATOMIC_RELAXED));
            if (!good(t)) continue;
            const double w = class_weight ? static_cast<double>(class_weight[t]) : 1.0;
            sum += row_weight ? w * static_cast<double>(row_weight[i]) : w;
        }
        return sum;
    }

    // Loops without a branch, so that the compiler can vectorise them; the same for weights of any type.
    [[gnu::noinline]] label_summary check(index begin, index end) const {
        index ignored_rows = 0, good_rows = 0;
        for (index i = begin; i < end; ++i) {
            ignored_rows += ignored(at(i));
            good_rows += good(at(i));
        }
        label_summary out{-1, good_rows, static_cast<double>(good_rows)};
        if (good_rows + ignored_rows != end - begin)
            for (index i = begin; i < end && out.first_bad < 0; ++i)
                if (!good(at(i)) && !ignored(at(i))) out.first_bad = i;
        return out;
    }
    [[gnu::noinline]] void convert(index begin, index end) const {
        for (index i = begin; i < end; ++i) {
            const std::int64_t t = at(i);
            a.converted[i] = good(t) ? t : -1;
        }
    }
};

// With a.converted, labels that were checked before are brought there; without, they are checked.
template <class I, class T>
label_summary labels(const label_args& a, index begin, index end) {
    const label_driver<I> driver{a};
    if (a.converted) {
        driver.convert(begin, end);
        return {-1, 0, 0};
    }
    label_summary out = driver.check(begin, end);
    if (out.first_bad < 0 && (a.class_weight || a.row_weight)) out.weight = driver.template weight<T>(begin, end);
    return out;
}

}  // namespace
}  // namespace lossk
