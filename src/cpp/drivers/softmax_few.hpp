// Softmax rows of few classes: a lane holds a row, so that short rows fill the registers and one logarithm serves many.
//
// Labels and probabilities with options that say the same of every class go one way (softmax_plain.hpp), everything
// else another (softmax_few_general.hpp).
#pragma once

#include "softmax_few_general.hpp"
#include "softmax_plain.hpp"

namespace lossk {
namespace {

template <class T>
double softmax_short_rows(const softmax_args& a, index begin, index end) {
    if (!softmax_plain<T>::serves(a)) return softmax_general_rows<T>(a, begin, end);
    if (a.lse || a.correct) {  // before the gradient takes the place of the logits
        softmax_args statistics = a;
        statistics.each = statistics.g = nullptr;
        statistics.streaming = false;
        softmax_general_rows<T>(statistics, begin, end);
    }
    return softmax_plain<T>(a, begin).run(begin, end);
}

}  // namespace
}  // namespace lossk
