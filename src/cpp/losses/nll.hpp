// Negative log-likelihood: -z_t, z log-probabilities, t the label; the gradient is -1 at the label, 0 elsewhere.
#pragma once

#include "point.hpp"

namespace lossk {
namespace {

template <class T>
struct nll {
    static constexpr const char* name = "nll";
    static constexpr int parameters = 0;
    static constexpr row_target target = row_target::labels;
    static constexpr bool class_weights_divide = true;

    nll(const double*, index) {}

    point<double> label(double z_t, const point<double>&) const { return {-z_t, -1, 0}; }
};

}  // namespace
}  // namespace lossk
