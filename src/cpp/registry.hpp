// The list of everything: one entry a formula. A new loss or optimizer is added here, and nowhere else in C++.
#pragma once

#include "drivers/labels.hpp"
#include "drivers/norm.hpp"
#include "drivers/pointwise.hpp"
#include "drivers/rows.hpp"
#include "drivers/softmax_few.hpp"
#include "drivers/softmax_many.hpp"
#include "drivers/twin.hpp"
#include "drivers/unary.hpp"
#include "drivers/update.hpp"
#include "losses/absolute_error.hpp"
#include "losses/hinge.hpp"
#include "losses/huber.hpp"
#include "losses/kl_divergence.hpp"
#include "losses/multi_margin.hpp"
#include "losses/nll.hpp"
#include "losses/squared_error.hpp"
#include "losses/squared_hinge.hpp"
#include "optimizers/adagrad.hpp"
#include "optimizers/adam.hpp"
#include "optimizers/lion.hpp"
#include "optimizers/rmsprop.hpp"
#include "optimizers/sgd.hpp"

namespace lossk {
namespace {

template <template <class> class F>
constexpr pointwise_entry pointwise_loss() {
    static_assert(F<float>::parameters <= max_parameters);
    pointwise_entry entry{
        F<float>::name,
        F<float>::parameters,
        inputs_of<F<float>>(),
        nullptr,
        {},
        {{pointwise<F<float>, float, verb::value>, pointwise<F<float>, float, verb::grad>,
          pointwise<F<float>, float, verb::value_and_grad>, pointwise<F<float>, float, verb::grad_and_hess>},
         {pointwise<F<double>, double, verb::value>, pointwise<F<double>, double, verb::grad>,
          pointwise<F<double>, double, verb::value_and_grad>, pointwise<F<double>, double, verb::grad_and_hess>}}};
    if constexpr (has_domain<F<float>>) {
        entry.domain = F<float>::domain;
        entry.outside[0] = first_outside<F<float>, float>;
        entry.outside[1] = first_outside<F<double>, double>;
    }
    return entry;
}

template <template <class> class F>
constexpr rows_entry row_loss() {
    static_assert(F<float>::parameters <= max_parameters);
    return {F<float>::name,
            F<float>::parameters,
            F<float>::target,
            F<float>::class_weights_divide,
            {{rows<F<float>, float, verb::value>, rows<F<float>, float, verb::grad>,
              rows<F<float>, float, verb::value_and_grad>, rows<F<float>, float, verb::grad_and_hess>},
             {rows<F<double>, double, verb::value>, rows<F<double>, double, verb::grad>,
              rows<F<double>, double, verb::value_and_grad>, rows<F<double>, double, verb::grad_and_hess>}}};
}

template <template <class> class F>
constexpr update_entry optimizer() {
    static_assert(F<float>::slots <= max_slots && F<float>::parameters <= max_parameters);
    return {
        F<float>::name, F<float>::slots, F<float>::parameters, {update<F<float>, float>, update<F<double>, double>}};
}

template <class F>
constexpr unary_entry function(const char* name) {
    return {name, {unary<F, float>, unary<F, double>}};
}

// clang-format off
constexpr pointwise_entry pointwise_losses[] = {
    pointwise_loss<squared_error>(),
    pointwise_loss<absolute_error>(),
    pointwise_loss<huber>(),
    pointwise_loss<hinge>(),
    pointwise_loss<squared_hinge>(),
};

constexpr rows_entry row_formulas[] = {
    row_loss<nll>(),
    row_loss<multi_margin>(),
    row_loss<kl_divergence>(),
};

constexpr update_entry optimizers[] = {
    optimizer<sgd>(),
    optimizer<sgd_momentum>(),
    optimizer<sgd_keras>(),
    optimizer<adam>(),
    optimizer<adam_amsgrad>(),
    optimizer<rmsprop>(),
    optimizer<rmsprop_momentum>(),
    optimizer<rmsprop_centered>(),
    optimizer<rmsprop_centered_momentum>(),
    optimizer<adagrad>(),
    optimizer<lion>(),
};

struct exp_function { template <class V> V operator()(V x) const { return exp(x); } };
struct exp_flush_function { template <class V> V operator()(V x) const { return exp_flush(x); } };
struct exp_quick_function { template <class V> V operator()(V x) const { return exp_quick(x); } };
struct expm1_function { template <class V> V operator()(V x) const { return expm1(x); } };
struct log_function { template <class V> V operator()(V x) const { return log(x); } };
struct log1p_function { template <class V> V operator()(V x) const { return log1p(x); } };
struct tanh_function { template <class V> V operator()(V x) const { return tanh(x); } };
struct sigmoid_function { template <class V> V operator()(V x) const { return sigmoid(x); } };
struct softplus_function { template <class V> V operator()(V x) const { return softplus(x); } };

constexpr unary_entry functions[] = {
    function<exp_function>("exp"),
    function<exp_flush_function>("exp_flush"),
    function<exp_quick_function>("exp_quick"),
    function<expm1_function>("expm1"),
    function<log_function>("log"),
    function<log1p_function>("log1p"),
    function<tanh_function>("tanh"),
    function<sigmoid_function>("sigmoid"),
    function<softplus_function>("softplus"),
};
// clang-format on

}  // namespace
}  // namespace lossk
