// Optimizers' arrays and steps: checks, parameters of formulas, clipping, and all or nothing.
#include "update_plan.hpp"

#include "tuning.hpp"

#include <array>
#include <cmath>

namespace lossk {
namespace optimizers {
namespace {

py::object view_of(const py::array& a) {
    return py::array(a.dtype(), {a.shape(), a.shape() + a.ndim()}, {a.strides(), a.strides() + a.ndim()}, a.data(), a);
}

// The i-th entry of a list that has one a parameter.
py::handle item(py::handle list, std::size_t i) { return PyList_GET_ITEM(list.ptr(), static_cast<py::ssize_t>(i)); }

}  // namespace

// ---- the arrays -----------------------------------------------------------------------------------------------------

update_plan::update_plan(int kernel, const py::list& params, const py::list& work, const py::list& slots,
                         const py::list& masters, std::optional<std::uint64_t> seed, py::object keys,
                         std::shared_ptr<turn> own_turn)
    : kernel_(kernel), keys_(std::move(keys)), turn_(std::move(own_turn)) {
    tuned_kernels(family::steps);  // reads the profile; steps run without the interpreter lock
    for (std::size_t i = 0; i < params.size(); ++i)
        add(i, params[i].cast<py::array>(), work[i], slots[i].cast<py::list>(), masters[i]);
    for (parameter& p : parameters_) {
        p.args.dithers = seed.has_value();
        p.args.seed = seed.value_or(0);
    }
    gradients_.resize(parameters_.size());
    counted_.resize(parameters_.size());
    written_.sort();
}

void update_plan::add(std::size_t i, const py::array& own, const py::object& buffer, const py::list& slots,
                      const py::object& master) {
    const std::optional<array_view> work = view(buffer);
    if (!work) throw py::type_error(name("params", i) + ": wanted a C-contiguous NumPy array");
    const std::optional<element> type = element_of(*work);
    if (!type) throw py::type_error(name("params", i) + ": got dtype " + work->type_text() + ", wanted a float");
    if (!own.writeable()) throw py::value_error(name("params", i) + ": got a read-only array, wanted a writeable one");
    parameter p{watched_array(own), {}, *work, {}, *type, {}, nullptr};
    if (work->data() != fields_of(own).data) p.strided = view_of(own);
    written_.add(*work, i);
    p.args.p = work->mutable_data();
    p.args.kind = storage_of(*type);
    p.args.tensor = i;
    for (int s = 0; s < entry().slots; ++s) p.args.slot[s] = add_state(i, p, slots[static_cast<std::size_t>(s)]);
    if (!master.is_none()) p.args.master = static_cast<float*>(add_state(i, p, master));
    chunks_.add(work->size());
    parameters_.push_back(std::move(p));
}

// The memory of one array of state, which has the type of the arithmetic.
void* update_plan::add_state(std::size_t i, parameter& p, py::handle given_state) {
    const std::optional<array_view> a = view(given_state);
    if (!a) throw py::type_error(name("state", i) + ": wanted a C-contiguous NumPy array");
    const std::optional<element> type = element_of(*a);
    if (!type || storage_of(*type) != storage::same || arithmetic_of(*type) != arithmetic_of(p.type))
        throw py::type_error(name("state", i) + ": got dtype " + a->type_text() + ", wanted that of the arithmetic");
    check_same_shape(*a, name("state", i).c_str(), p.work, "its parameter");
    written_.add(*a, i);
    p.state.push_back(*a);
    return a->mutable_data();
}

bool update_plan::holds() const {
    return std::all_of(parameters_.begin(), parameters_.end(), [](const auto& p) { return p.own.unchanged(); });
}

// ---- gradients ------------------------------------------------------------------------------------------------------

bool update_plan::accept(std::size_t i, py::handle g, given how) {
    gradients_[i] = {nullptr, parameters_[i].type};
    if (g.is_none()) return true;
    return how == given::addresses ? accept_address(i, g) : accept_array(i, g, how == given::prepared);
}

// Takes over a gradient after all checks. False: it must be prepared first, or kept apart from a parameter that is
// not contiguous, which `apart` says it is.
bool update_plan::accept_array(std::size_t i, py::handle g, bool apart) {
    if (!plainly_like(g, parameters_[i].work)) {
        if (!py::isinstance<py::array>(g)) return false;
        const array_view unprepared(py::reinterpret_borrow<py::array>(g));
        check_same_type(unprepared, name("grads", i).c_str(), parameters_[i].work, "its parameter");
        check_same_shape(unprepared, name("grads", i).c_str(), parameters_[i].work, "its parameter");
        if (!view(g)) return false;
    }
    const char* const data = fields_of(g).data;
    if (parameters_[i].strided && !apart && data != parameters_[i].checked_gradient) return false;
    take(i, data);
    return true;
}

// Takes over the address of a gradient that the caller has checked.
bool update_plan::accept_address(std::size_t i, py::handle address) {
    static const char nothing{};  // null is the address of empty tensors, and stands for no gradient here
    const auto data = static_cast<const char*>(PyLong_AsVoidPtr(address.ptr()));
    if (PyErr_Occurred()) throw py::error_already_set();
    take(i, data ? data : &nothing);
    return true;
}

// The array that a step is counted in.
std::optional<array_view> update_plan::accept_counts(py::handle given_counts) const {
    std::optional<array_view> counts = view(given_counts);
    const auto n = static_cast<index>(parameters_.size());
    const std::optional<element> type = counts ? element_of(*counts) : std::nullopt;
    if (!type || storage_of(*type) != storage::same || !counts->has_shape(&n, 1) || !counts->object().writeable())
        throw py::type_error("counts: wanted a writeable array of float32 or float64, an entry a parameter");
    return counts;
}

void update_plan::take(std::size_t i, const char* data) {
    parameter& p = parameters_[i];
    if (data != p.checked_gradient) {
        if (const auto other = written_.owner(data, data + p.work.bytes()))
            throw py::value_error(name("grads", i) + ": got memory that overlaps " + name("params", *other) +
                                  " or its state, wanted separate memory");
        p.checked_gradient = data;
    }
    gradients_[i].data = data;
    elements_ += p.work.size();
}

void update_plan::check_list(py::handle list) const {
    if (!PyList_Check(list.ptr()) || PyList_GET_SIZE(list.ptr()) != static_cast<py::ssize_t>(parameters_.size()))
        throw py::value_error("step: got something else, wanted a list of one entry a parameter");
}

// ---- a step ---------------------------------------------------------------------------------------------------------

void update_plan::enter(py::handle lr_version) {
    if (lr_version.is(lr_version_)) return;
    lr_version_ = py::reinterpret_borrow<py::object>(lr_version);
    for (parameter& p : parameters_) p.independent = false;
}

// What a formula depends on belongs to a number of steps, which most tensors share: formula(t) is for the t-th.
void update_plan::set_formula(py::handle steps, py::handle formula, py::handle independent_from) {
    const std::uint64_t from =
        independent_from.is_none() ? UINT64_MAX : PyLong_AsUnsignedLongLong(independent_from.ptr());
    const update_args* last = nullptr;
    // All before the first formula, which is Python's code and may do anything to the list.
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        parameters_[i].args.step = PyLong_AsUnsignedLongLong(item(steps, i).ptr());
    if (PyErr_Occurred()) throw py::error_already_set();
    for (parameter& p : parameters_) {
        update_args& own = p.args;
        if (p.independent && own.step + 1 >= from) continue;
        if (last && last->step == own.step)
            std::copy_n(last->parameters, max_parameters, own.parameters);
        else
            read_parameters(asking_for_lock([&] { return formula(own.step + 1); }), entry().parameters, own.parameters);
        p.independent = own.step + 1 >= from;
        last = &own;
    }
}

// The numbers of steps after this one, of parameters that have a gradient.
void update_plan::note_counts() {
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (gradients_[i].data) counted_[i] = py::int_(parameters_[i].args.step + 1);
}

// Calls work(strided, buffer) for every parameter that is updated in a buffer.
template <class F>
void update_plan::each_buffer(F&& work) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (gradients_[i].data && parameters_[i].strided) work(parameters_[i].strided, parameters_[i].work.object());
}

// All or nothing: what may fail is done before kernels write, and Python runs nothing in between.
outcome update_plan::update(py::handle steps, const std::optional<array_view>& counts, double scale, bool guarded,
                            std::optional<double> max_norm, int threads) {
    note_counts();
    each_buffer([](py::handle strided, py::handle buffer) { copy(buffer, strided); });
    const outcome result =
        without_gil(elements_, interrupts::deferred, [&] { return run(scale, guarded, max_norm, threads); });
    if (!result.applied) return result;
    each_buffer([](py::handle strided, py::handle buffer) { copy(strided, buffer); });
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (gradients_[i].data) PyList_SetItem(steps.ptr(), static_cast<py::ssize_t>(i), counted_[i].release().ptr());
    if (counts) count_in(*counts);
    return result;
}

void update_plan::count_in(const array_view& counts) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        if (!gradients_[i].data) continue;
        if (element_of(counts) == element::f64)
            reinterpret_cast<double*>(counts.mutable_data())[i] += 1;
        else
            reinterpret_cast<float*>(counts.mutable_data())[i] += 1;
    }
}

// The first of two passes, and what the second is told of each tensor: the norm of the parameter over that of its move,
// or 1 where that is no number above 0. A chunk leaves sums in f64, which are added in order.
void update_plan::set_trust(int threads) {
    auto squares = vector_of<std::array<double, 2>>(static_cast<std::size_t>(chunks_.count()), "sums of squares");
    const update_entry& update = entry();
    chunks_.each(elements_, threads, [&](std::size_t t, index chunk, index begin, index end) {
        const parameter& p = parameters_[t];
        double* const sums = squares[static_cast<std::size_t>(chunk)].data();
        if (p.args.g) update.norms[arithmetic_of(p.type)](p.args, begin, end, sums);
    });
    for (std::size_t t = 0; t < parameters_.size(); ++t) {
        double of_p = 0, of_move = 0;
        for (index c = chunks_.first(t); c < chunks_.first(t + 1); ++c) {
            of_p += squares[static_cast<std::size_t>(c)][0];
            of_move += squares[static_cast<std::size_t>(c)][1];
        }
        const double trust = std::sqrt(of_p) / std::sqrt(of_move);
        parameters_[t].args.parameters[trust_at] = trust > 0 && std::isfinite(trust) ? trust : 1.0;
    }
}

outcome update_plan::run(double scale, bool guarded, std::optional<double> max_norm, int threads) {
    std::optional<double> norm;
    if (guarded) {
        norm = std::abs(scale) * norm_of(chunks_, gradients_, elements_, threads);
        if (!std::isfinite(*norm)) return {false, norm};
        if (max_norm) scale *= clip_factor(*norm, *max_norm);
    }
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        parameters_[i].args.g = gradients_[i].data;
        parameters_[i].args.scale = scale;
    }
    const update_entry& update = entry();
    if (update.norms[0]) set_trust(threads);
    chunks_.each(elements_, threads, [&](std::size_t t, index, index begin, index end) {
        const parameter& p = parameters_[t];
        if (p.args.g) update.kernel[arithmetic_of(p.type)](p.args, begin, end);
    });
    return {true, norm};
}

py::object update_plan::step(const arguments& in, given how) {
    const std::optional<array_view> counts = how == given::addresses ? accept_counts(in[counts_at]) : std::nullopt;
    const int threads = threads_of(in[threads_at]);
    const bool guarded = in[guarded_at].ptr() == Py_True;
    std::optional<double> max_norm;
    if (!in[max_norm_at].is_none()) max_norm = PyFloat_AsDouble(in[max_norm_at].ptr());
    check_list(in[gradients_at]);
    check_list(in[steps_at]);
    // A list of our own: another thread may change the caller's, and drop arrays, while kernels run.
    const auto gradients = py::reinterpret_steal<py::list>(PyList_GetSlice(in[gradients_at].ptr(), 0, PY_SSIZE_T_MAX));
    bool ready = true;
    elements_ = 0;
    for (std::size_t i = 0; i < parameters_.size(); ++i) ready &= accept(i, item(gradients, i), how);
    if (!ready) return py::none();
    enter(in[lr_version_at]);
    set_formula(in[steps_at], in[formula_at], in[independent_from_at]);
    const double scale = PyFloat_AsDouble(in[scale_at].ptr());
    const outcome result = update(in[steps_at], counts, scale, guarded, max_norm, threads);
    return guarded ? py::object(py::make_tuple(result.applied, *result.norm)) : py::bool_(true);
}

}  // namespace optimizers
}  // namespace lossk
