// Labels of any integer type: checked against the number of classes, brought to one type, and weighed.
#pragma once

#include "../base/types.hpp"

namespace lossk {
namespace {

template <class I, class T>
label_summary check_labels(const label_args& a, index begin, index end) {
    const I* label = static_cast<const I*>(a.label);
    const T* class_weight = static_cast<const T*>(a.class_weight);
    const T* row_weight = static_cast<const T*>(a.row_weight);
    const auto classes = static_cast<std::uint64_t>(a.classes);

    // Without a branch, so that the compiler can vectorise it. An unsigned 64-bit label past 2^63 becomes negative
    // here, and is out of range either way.
    const bool can_ignore = I(-1) < I(0) || a.ignore_index >= 0;
    index ignored_rows = 0, good_rows = 0;
    for (index i = begin; i < end; ++i) {
        const auto t = static_cast<std::int64_t>(label[i]);
        const bool ignored = can_ignore & (t == a.ignore_index);
        const bool good = !ignored & (static_cast<std::uint64_t>(t) < classes);
        a.checked[i] = good ? t : -1;
        ignored_rows += ignored;
        good_rows += good;
    }
    label_summary out{-1, good_rows, static_cast<double>(good_rows)};
    if (good_rows + ignored_rows != end - begin) {
        out.first_bad = begin;
        while (a.checked[out.first_bad] >= 0 ||
               (can_ignore && static_cast<std::int64_t>(label[out.first_bad]) == a.ignore_index))
            ++out.first_bad;
        return out;
    }
    if (!class_weight && !row_weight) return out;
    out.weight = 0;
    for (index i = begin; i < end; ++i) {
        const std::int64_t t = a.checked[i];
        if (t < 0) continue;
        const double w = class_weight ? static_cast<double>(class_weight[t]) : 1.0;
        out.weight += row_weight ? w * static_cast<double>(row_weight[i]) : w;
    }
    return out;
}

}  // namespace
}  // namespace lossk
