// The arrays of one optimizer, checked once and watched from then on; its steps.
#pragma once

#include <memory>

#include "../runtime/cpu.hpp"
#include "arguments.hpp"
#include "tensors.hpp"
#include "turn.hpp"
#include "watched_array.hpp"

namespace lossk {
namespace optimizers {

// Positions of what Python passes to a step.
enum argument : std::size_t {
    plan_at,
    gradients_at,
    steps_at,  // so far, one entry a parameter
    formula_at,
    lr_version_at,        // another object for each learning rate and set of options
    independent_from_at,  // None, or from which step on the formula does not depend on the step
    scale_at,             // factor of the gradients
    guarded_at,
    max_norm_at,
    threads_at,
    argument_count,
    counts_at = argument_count,  // of step_at alone: an array of the numbers of steps, counted as well
};

// A parameter, and the contiguous array that kernels update: the same one, or a buffer for it.
struct parameter {
    watched_array own;
    py::object strided;  // where there is a buffer: a view of the parameter that nobody else has
    array_view work;
    std::vector<array_view> state;
    element type;
    update_args args;
    const void* checked_gradient;  // known to be apart from all that a step writes
    bool independent = false;      // the formula's parameters in `args` are those of every step of this lr_version
};

// What a step came to.
struct outcome {
    bool applied;
    std::optional<double> norm;
};

// How gradients come: as arrays, some of which may have to be prepared; prepared, and apart from parameters that are
// not contiguous; by their addresses, which the caller has checked: contiguous, of the shapes and types of the
// parameters.
enum class given { arrays, prepared, addresses };

class update_plan {
    int kernel_;
    py::object keys_;  // names of the parameters, or None: they are numbered
    std::vector<parameter> parameters_;
    std::vector<gradient> gradients_;
    std::vector<py::object> counted_;  // what the numbers of steps become if a step is applied
    chunk_list chunks_;
    memory_map written_;
    index elements_ = 0;  // of the parameters that have a gradient
    std::shared_ptr<turn> turn_;
    py::object lr_version_;

    const update_entry& entry() const { return kernels_of(family::steps).update[kernel_]; }
    std::string name(const char* what, std::size_t i) const { return tensor_name(what, keys_, i); }

    void add(std::size_t i, const py::array& own, const py::object& buffer, const py::list& slots,
             const py::object& master);
    void* add_state(std::size_t i, parameter& p, py::handle given_state);

    bool accept(std::size_t i, py::handle g, given how);
    bool accept_array(std::size_t i, py::handle g, bool apart);
    bool accept_address(std::size_t i, py::handle address);
    std::optional<array_view> accept_counts(py::handle counts) const;
    void take(std::size_t i, const char* data);
    void check_list(py::handle list) const;

    void enter(py::handle lr_version);
    void set_formula(py::handle steps, py::handle formula, py::handle independent_from);
    void note_counts();
    void count_in(const array_view& counts) const;
    template <class F>
    void each_buffer(F&& work) const;
    outcome update(py::handle steps, const std::optional<array_view>& counts, double scale, bool guarded,
                   std::optional<double> max_norm, int threads);
    void set_trust(int threads);
    outcome run(double scale, bool guarded, std::optional<double> max_norm, int threads);

public:
    // `work` holds what kernels update: each parameter itself, or a buffer of its shape where it is not contiguous;
    // `masters` f32 parameters or None; `seed` that of stochastic rounding or None; steps take `own_turn`.
    update_plan(int kernel, const py::list& params, const py::list& work, const py::list& slots,
                const py::list& masters, std::optional<std::uint64_t> seed, py::object keys,
                std::shared_ptr<turn> own_turn);

    turn& own_turn() const { return *turn_; }
    // Are the parameters as they were?
    bool holds() const;
    // One step, counted in the list of steps, after all checks; the caller has taken the turn. None: something must be
    // prepared first; else whether it happened, and with the norm where one was asked for.
    py::object step(const arguments& in, given how);
};

}  // namespace optimizers
}  // namespace lossk
