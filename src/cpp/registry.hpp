// The list of everything: one entry a formula. A new loss, activation or optimizer is added here, and nowhere
// else in C++.
#pragma once

#include "activations/elu.hpp"
#include "activations/gelu.hpp"
#include "activations/gelu_tanh.hpp"
#include "activations/glu.hpp"
#include "activations/hardswish.hpp"
#include "activations/hardtanh.hpp"
#include "activations/leaky_relu.hpp"
#include "activations/mish.hpp"
#include "activations/prelu.hpp"
#include "activations/relu.hpp"
#include "activations/selu.hpp"
#include "activations/shrink.hpp"
#include "activations/sigmoid.hpp"
#include "activations/silu.hpp"
#include "activations/softmax_vjp.hpp"
#include "activations/softplus.hpp"
#include "activations/softsign.hpp"
#include "activations/swiglu.hpp"
#include "activations/tanh.hpp"
#include "activations/tanhshrink.hpp"
#include "drivers/activation.hpp"
#include "drivers/copy.hpp"
#include "drivers/ctc.hpp"
#include "drivers/gated.hpp"
#include "drivers/label_sets.hpp"
#include "drivers/labels.hpp"
#include "drivers/linear/dx.hpp"
#include "drivers/norm.hpp"
#include "drivers/pairs.hpp"
#include "drivers/pointwise.hpp"
#include "drivers/rows.hpp"
#include "drivers/rows_domain.hpp"
#include "drivers/softmax/short_rows/dispatch.hpp"
#include "drivers/softmax/long_rows/dispatch.hpp"
#include "drivers/twin.hpp"
#include "drivers/unary.hpp"
#include "drivers/update.hpp"
#include "losses/absolute_error.hpp"
#include "losses/absolute_percentage_error.hpp"
#include "losses/binary_cross_entropy.hpp"
#include "losses/binary_cross_entropy_with_logits.hpp"
#include "losses/cosine_embedding.hpp"
#include "losses/epsilon_insensitive.hpp"
#include "losses/exponential.hpp"
#include "losses/focal.hpp"
#include "losses/gamma.hpp"
#include "losses/gaussian_nll.hpp"
#include "losses/hinge.hpp"
#include "losses/hinge_embedding.hpp"
#include "losses/huber.hpp"
#include "losses/jeffreys.hpp"
#include "losses/jensen_shannon.hpp"
#include "losses/kl_divergence.hpp"
#include "losses/log_cosh.hpp"
#include "losses/logistic.hpp"
#include "losses/margin_ranking.hpp"
#include "losses/modified_huber.hpp"
#include "losses/multi_label_margin.hpp"
#include "losses/multi_label_soft_margin.hpp"
#include "losses/multi_margin.hpp"
#include "losses/nll.hpp"
#include "losses/perceptron.hpp"
#include "losses/poisson_nll.hpp"
#include "losses/pseudo_huber.hpp"
#include "losses/quantile.hpp"
#include "losses/smooth_l1.hpp"
#include "losses/squared_epsilon_insensitive.hpp"
#include "losses/squared_error.hpp"
#include "losses/squared_hinge.hpp"
#include "losses/squared_logarithmic_error.hpp"
#include "losses/triplet_margin.hpp"
#include "losses/tversky.hpp"
#include "losses/tweedie.hpp"
#include "optimizers/adadelta.hpp"
#include "optimizers/adagrad.hpp"
#include "optimizers/adam.hpp"
#include "optimizers/adamax.hpp"
#include "optimizers/asgd.hpp"
#include "optimizers/lamb.hpp"
#include "optimizers/lion.hpp"
#include "optimizers/nadam.hpp"
#include "optimizers/rmsprop.hpp"
#include "optimizers/rprop.hpp"
#include "optimizers/schedule_free.hpp"
#include "optimizers/sgd.hpp"
#include "simd/normal.hpp"

namespace lossk {
namespace {

template <template <class> class F>
constexpr pointwise_entry pointwise_loss() {
    static_assert(F<float>::parameters <= max_parameters);
    pointwise_entry entry{
        F<float>::name,
        F<float>::parameters,
        inputs_of<F<float>>(),
        {},
        false,
        {},
        {{pointwise<F<float>, float, verb::value>, pointwise<F<float>, float, verb::grad>,
          pointwise<F<float>, float, verb::value_and_grad>, pointwise<F<float>, float, verb::grad_and_hess>},
         {pointwise<F<double>, double, verb::value>, pointwise<F<double>, double, verb::grad>,
          pointwise<F<double>, double, verb::value_and_grad>, pointwise<F<double>, double, verb::grad_and_hess>}}};
    if constexpr (has_domain<F<float>>) {
        entry.domain = F<float>::domain;
        entry.target_alone = has_domain_of_targets<F<float>, vec<float>>;
        entry.outside[0] = first_outside<F<float>, float>;
        entry.outside[1] = first_outside<F<double>, double>;
    }
    return entry;
}

// One kernel serves every verb.
template <template <class> class F>
constexpr rows_entry one_kernel(const char* name, rows_kernel f32, rows_kernel f64) {
    return {name,
            F<float>::parameters,
            F<float>::target,
            F<float>::class_weights_divide,
            {{f32, f32, f32, f32}, {f64, f64, f64, f64}},
            {}};
}

// `name`: that of another class which the formula computes with other parameters.
template <template <class> class F>
constexpr rows_entry row_loss(const char* name = F<float>::name) {
    static_assert(F<float>::parameters <= max_parameters);
    rows_entry entry =
        one_kernel<F>(name, rows<F<float>, float, verb::grad_and_hess>, rows<F<double>, double, verb::grad_and_hess>);
    if constexpr (!requires { F<float>::is_long; }) {
        constexpr rows_kernel verbs[][3] = {{rows<F<float>, float, verb::value>, rows<F<float>, float, verb::grad>,
                                             rows<F<float>, float, verb::value_and_grad>},
                                            {rows<F<double>, double, verb::value>, rows<F<double>, double, verb::grad>,
                                             rows<F<double>, double, verb::value_and_grad>}};
        for (int e = 0; e < element_count; ++e)
            for (int what = 0; what < 3; ++what) entry.kernel[e][what] = verbs[e][what];
    }
    if constexpr (has_domain<F<float>>) {
        entry.outside[0] = first_row_outside<F<float>, float>;
        entry.outside[1] = first_row_outside<F<double>, double>;
    }
    return entry;
}

template <template <class> class F>
constexpr rows_entry label_set_loss() {
    return one_kernel<F>(F<float>::name, label_sets<F<float>, float>, label_sets<F<double>, double>);
}

// A formula of rows that has a gradient and nothing else.
template <template <class> class F>
constexpr rows_entry row_vjp() {
    rows_entry entry{F<float>::name, 0, F<float>::target, false, {}, {}};
    constexpr int grad = static_cast<int>(verb::grad);
    entry.kernel[0][grad] = rows<F<float>, float, verb::grad>;
    entry.kernel[1][grad] = rows<F<double>, double, verb::grad>;
    return entry;
}

template <template <class> class F>
constexpr pairs_entry pair_loss() {
    static_assert(F<float>::parameters <= max_parameters && F<float>::inputs <= max_inputs);
    return {F<float>::name,        F<float>::parameters, F<float>::inputs,
            F<float>::inputs == 2, is_single<F<float>>,  {pairs<F<float>, float>, pairs<F<double>, double>}};
}

template <template <class> class F>
constexpr activation_entry activation() {
    static_assert(F<float>::parameters <= max_parameters);
    constexpr map derivative = is_common<F<float>> ? map::derivative : map::vjp;
    return {F<float>::name,
            F<float>::parameters,
            {{activate<F<float>, float, map::value>, activate<F<float>, float, derivative>,
              activate<F<float>, float, map::vjp>},
             {activate<F<double>, double, map::value>, activate<F<double>, double, derivative>,
              activate<F<double>, double, map::vjp>}}};
}

template <template <class> class F>
constexpr gated_entry gated_activation() {
    return {F<float>::name, {gated<F<float>, float>, gated<F<double>, double>}};
}

template <template <class> class F>
constexpr update_entry optimizer() {
    static_assert(F<float>::slots <= max_slots && F<float>::parameters <= max_parameters);
    return {F<float>::name,
            F<float>::slots,
            F<float>::parameters,
            {update<F<float>, float>, update<F<double>, double>},
            {}};
}

// An optimizer of two passes.
template <template <class> class F>
constexpr update_entry optimizer_by_norms() {
    static_assert(F<float>::parameters <= trust_at);
    update_entry entry = optimizer<F>();
    entry.norms[0] = update_norms<F<float>, float>;
    entry.norms[1] = update_norms<F<double>, double>;
    return entry;
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
    pointwise_loss<smooth_l1>(),
    pointwise_loss<pseudo_huber>(),
    pointwise_loss<log_cosh>(),
    pointwise_loss<quantile>(),
    pointwise_loss<epsilon_insensitive>(),
    pointwise_loss<squared_epsilon_insensitive>(),
    pointwise_loss<squared_logarithmic_error>(),
    pointwise_loss<absolute_percentage_error>(),
    pointwise_loss<poisson_nll>(),
    pointwise_loss<gaussian_nll>(),
    pointwise_loss<gaussian_nll_var>(),
    pointwise_loss<gaussian_nll_both>(),
    pointwise_loss<gamma>(),
    pointwise_loss<tweedie>(),
    pointwise_loss<hinge>(),
    pointwise_loss<squared_hinge>(),
    pointwise_loss<hinge_embedding>(),
    pointwise_loss<logistic>(),
    pointwise_loss<modified_huber>(),
    pointwise_loss<perceptron>(),
    pointwise_loss<binary_cross_entropy>(),
    pointwise_loss<binary_cross_entropy_smoothed>(),
    pointwise_loss<binary_cross_entropy_with_logits>(),
    pointwise_loss<binary_cross_entropy_with_logits_smoothed>(),
    pointwise_loss<binary_cross_entropy_with_logits_weighted>(),
    pointwise_loss<binary_cross_entropy_with_logits_weighted_smoothed>(),
    pointwise_loss<focal>(),
    pointwise_loss<exponential>(),
};

constexpr rows_entry row_formulas[] = {
    row_loss<nll>(),
    row_loss<multi_margin>(),
    row_loss<kl_divergence>(),
    row_loss<jensen_shannon>(),
    row_loss<jeffreys>(),
    label_set_loss<multi_label_margin>(),
    row_loss<multi_label_soft_margin>(),
    row_loss<tversky>(),
    row_loss<tversky>("dice"),
    row_vjp<softmax_vjp>(),
    row_vjp<log_softmax_vjp>(),
    row_vjp<logsumexp_vjp>(),
};

constexpr pairs_entry pair_losses[] = {
    pair_loss<margin_ranking>(),
    pair_loss<cosine_embedding>(),
    pair_loss<triplet_margin>(),
};

constexpr activation_entry activations[] = {
    activation<sigmoid_unit>(),
    activation<tanh_unit>(),
    activation<relu_unit>(),
    activation<leaky_relu_unit>(),
    activation<selu_unit>(),
    activation<softplus_unit>(),
    activation<elu_unit>(),
    activation<gelu_unit>(),
    activation<gelu_tanh_unit>(),
    activation<silu_unit>(),
    activation<mish_unit>(),
    activation<hardswish_unit>(),
    activation<hardtanh_unit>(),
    activation<shrink_unit>(),
    activation<softsign_unit>(),
    activation<tanhshrink_unit>(),
};

constexpr gated_entry gated_activations[] = {
    gated_activation<glu_unit>(),
    gated_activation<swiglu_unit>(),
    gated_activation<prelu_unit>(),
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
    optimizer<adadelta>(),
    optimizer<adamax>(),
    optimizer<nadam>(),
    optimizer<rprop>(),
    optimizer<asgd>(),
    optimizer_by_norms<lamb>(),
    optimizer<schedule_free_sgd>(),
    optimizer<schedule_free_adamw>(),
};

struct exp_function { template <class V> V operator()(V x) const { return exp(x); } };
struct exp_flush_function { template <class V> V operator()(V x) const { return exp_flush(x); } };
struct exp_over_function { template <class V> V operator()(V x) const { return exp_over(x); } };
struct exp_quick_function { template <class V> V operator()(V x) const { return exp_quick(x); } };
struct expm1_function { template <class V> V operator()(V x) const { return expm1(x); } };
struct log_function { template <class V> V operator()(V x) const { return log(x); } };
struct log1p_function { template <class V> V operator()(V x) const { return log1p(x); } };
struct log1p_positive_function { template <class V> V operator()(V x) const { return log1p_positive(x); } };
struct log1p_unit_function { template <class V> V operator()(V x) const { return log1p_unit(x); } };
struct log_probability_function { template <class V> V operator()(V x) const { return log_probability(x); } };
struct log_other_probability_function { template <class V> V operator()(V x) const { return log_other_probability(x); } };
struct tanh_function { template <class V> V operator()(V x) const { return tanh(x); } };
struct sigmoid_function { template <class V> V operator()(V x) const { return sigmoid(x); } };
struct normal_cdf_function { template <class V> V operator()(V x) const { return normal_cdf(x); } };
struct softplus_function { template <class V> V operator()(V x) const { return softplus(x); } };

constexpr unary_entry functions[] = {
    function<exp_function>("exp"),
    function<exp_flush_function>("exp_flush"),
    function<exp_over_function>("exp_over"),
    function<exp_quick_function>("exp_quick"),
    function<expm1_function>("expm1"),
    function<log_function>("log"),
    function<log1p_function>("log1p"),
    function<log1p_positive_function>("log1p_positive"),
    function<log1p_unit_function>("log1p_unit"),
    function<log_probability_function>("log_probability"),
    function<log_other_probability_function>("log_other_probability"),
    function<tanh_function>("tanh"),
    function<sigmoid_function>("sigmoid"),
    function<softplus_function>("softplus"),
    function<normal_cdf_function>("normal_cdf"),
};
// clang-format on

}  // namespace
}  // namespace lossk
