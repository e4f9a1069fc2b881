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

    label_summary out{-1, 0, 0};
    for (index i = begin; i < end; ++i) {
        // An unsigned 64-bit label past 2^63 becomes negative here, and is out of range either way.
        const auto t = static_cast<std::int64_t>(label[i]);
        const bool ignored = t == a.ignore_index && (I(-1) < I(0) || t >= 0);
        const bool bad = !ignored && static_cast<std::uint64_t>(t) >= classes;
        a.checked[i] = ignored || bad ? -1 : t;
        out.counted += !ignored;
        if (bad && out.first_bad < 0) out.first_bad = i;
    }
    if (out.first_bad >= 0 || !(class_weight || row_weight)) {
        out.weight = static_cast<double>(out.counted);
        return out;
    }
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
