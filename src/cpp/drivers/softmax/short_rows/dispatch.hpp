// Short softmax rows: a lane holds a row, so that short rows fill the registers and one logarithm serves many.
//
// Labels, with or without class weights, and soft targets, smoothing and z-loss without them go one way (losses.hpp),
// everything else another (general.hpp).
#pragma once

#include "general.hpp"
#include "losses.hpp"

namespace lossk {
namespace {

template <class T>
double softmax_short_rows(const softmax_args& a, index begin, index end) {
    if (a.target && a.outside) {
        const auto look = [&](const auto* y) {
            look_for_negative(a, y + begin * a.classes, (end - begin) * a.classes);
        };
        if (a.kind == storage::bf16)
            look(static_cast<const bf16*>(a.target));
        else if (a.kind == storage::f16)
            look(static_cast<const f16*>(a.target));
        else
            look(static_cast<const T*>(a.target));
    }
    if (!short_row_losses<T>::serves(a)) return run_general_short_rows<T>(a, begin, end);
    if (a.lse || a.correct) {  // before the gradient takes the place of the logits
        softmax_args statistics = a;
        statistics.each = statistics.g = nullptr;
        statistics.streaming = false;
        run_general_short_rows<T>(statistics, begin, end);
    }
    return short_row_losses<T>(a, begin).run(begin, end);
}

}  // namespace
}  // namespace lossk
