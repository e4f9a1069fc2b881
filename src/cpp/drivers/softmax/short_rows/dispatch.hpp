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
