// Binding of the optimizers. Knows no optimizer: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "families.hpp"
#include "tensors.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace lossk {
namespace optimizers {

// Positions of what Python passes to a step.
enum argument : std::size_t {
    plan_at,
    gradients_at,
    steps_at,  // so far, one entry a parameter
    formula_at,
    era_at,           // another object for each learning rate and set of options
    settled_from_at,  // None, or from which step on the formula depends on the era alone
    scale_at,         // factor of the gradients
    guarded_at,
    max_norm_at,
    threads_at,
    argument_count,
    counts_at = argument_count,  // of step_at alone: an array of the numbers of steps, counted as well
};

using array_struct = py::detail::PyArray_Proxy;

const array_struct& fields_of(py::handle array) { return *py::detail::array_proxy(array.ptr()); }

// Of no axes both may be null.
bool same_lengths(const py::ssize_t* a, const py::ssize_t* b, int n) { return std::equal(a, a + n, b); }

// An array, and what it was like when it was checked.
class watched_array {
    py::array array_;
    const char* data_;
    PyObject* descr_;
    int flags_, ndim_;
    std::vector<py::ssize_t> lengths_;  // shape, then strides

public:
    explicit watched_array(const py::array& array)
        : array_(array),
          data_(fields_of(array).data),
          descr_(fields_of(array).descr),
          flags_(fields_of(array).flags),
          ndim_(fields_of(array).nd),
          lengths_(fields_of(array).dimensions, fields_of(array).dimensions + ndim_) {
        lengths_.insert(lengths_.end(), fields_of(array).strides, fields_of(array).strides + ndim_);
    }
    bool unchanged() const {
        const array_struct& now = fields_of(array_);
        return now.data == data_ && now.descr == descr_ && now.flags == flags_ && now.nd == ndim_ &&
               same_lengths(now.dimensions, lengths_.data(), ndim_) &&
               same_lengths(now.strides, lengths_.data() + ndim_, ndim_);
    }
};

// Is this what kernels can read, exactly like `like`, which they can? The common case, in a few nanoseconds.
bool plainly_like(py::handle g, const array_view& like) {
    const array_struct &a = fields_of(g), &b = fields_of(like.object());
    constexpr int wanted = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    return Py_TYPE(g.ptr()) == Py_TYPE(like.object().ptr()) && a.descr == b.descr && (a.flags & wanted) == wanted &&
           a.nd == b.nd && same_lengths(a.dimensions, b.dimensions, a.nd);
}

// A parameter, and the contiguous array that kernels update: the same one, or a buffer for it.
struct parameter {
    watched_array own;
    py::object strided;  // where there is a buffer: a view of the parameter that nobody else has
    array_view work;
    std::vector<array_view> state;
    element type;
    update_args args;
    const void* checked_gradient;  // known to be apart from all that a step writes
    bool settled = false;          // the formula's parameters in `args` are those of every step of this era
};

// What a step came to.
struct outcome {
    bool applied;
    std::optional<double> norm;
};

// Only one call at a time of those that share a turn. It is taken and left with the interpreter lock held.
class turn {
    bool taken_ = false;

public:
    void take(const char* who) {
        if (taken_)
            throw std::runtime_error(std::string(who) +
                                     ": got a call while another thread is in a step of this optimizer, or saves or "
                                     "loads its state; wanted one at a time");
        taken_ = true;
    }
    void leave() { taken_ = false; }
};

class taken_turn {
    turn& turn_;

public:
    taken_turn(turn& t, const char* who) : turn_(t) { turn_.take(who); }
    taken_turn(const taken_turn&) = delete;
    ~taken_turn() { turn_.leave(); }
};

// What a Python function returns that has its turn. Not a context manager: Ctrl-C could come between taking and
// leaving.
py::object run_alone(turn& t, const char* who, const py::function& work, const py::args& given) {
    const taken_turn own(t, who);
    return asking_for_lock([&]() -> py::object { return work(*given); });
}

// The arrays of one optimizer, checked once and watched from then on.
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
    py::object era_;

    const update_entry& entry() const { return kernels_of(family::steps).update[kernel_]; }
    std::string name(const char* what, std::size_t i) const { return tensor_name(what, keys_, i); }

    // The memory of one array of state, which has the type of the arithmetic.
    void* add_state(std::size_t i, parameter& p, py::handle given) {
        const std::optional<array_view> a = view(given);
        if (!a) throw py::type_error(name("state", i) + ": wanted a C-contiguous NumPy array");
        const std::optional<element> type = element_of(*a);
        if (!type || storage_of(*type) != storage::same || arithmetic_of(*type) != arithmetic_of(p.type))
            throw py::type_error(name("state", i) + ": got dtype " + a->type_text() +
                                 ", wanted that of the arithmetic");
        check_same_shape(*a, name("state", i).c_str(), p.work, "its parameter");
        written_.add(*a, i);
        p.state.push_back(*a);
        return a->mutable_data();
    }

    static py::object view_of(const py::array& a) {
        return py::array(a.dtype(), {a.shape(), a.shape() + a.ndim()}, {a.strides(), a.strides() + a.ndim()}, a.data(),
                         a);
    }

    void add(std::size_t i, const py::array& own, const py::object& buffer, const py::list& slots,
             const py::object& master) {
        const std::optional<array_view> work = view(buffer);
        if (!work) throw py::type_error(name("params", i) + ": wanted a C-contiguous NumPy array");
        const std::optional<element> type = element_of(*work);
        if (!type) throw py::type_error(name("params", i) + ": got dtype " + work->type_text() + ", wanted a float");
        if (!own.writeable())
            throw py::value_error(name("params", i) + ": got a read-only array, wanted a writeable one");
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

    void take(std::size_t i, const char* data) {
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

    // The i-th entry of a list that has one a parameter.
    static py::handle item(py::handle list, std::size_t i) {
        return PyList_GET_ITEM(list.ptr(), static_cast<py::ssize_t>(i));
    }
    void check_list(py::handle list) const {
        if (!PyList_Check(list.ptr()) || PyList_GET_SIZE(list.ptr()) != static_cast<py::ssize_t>(parameters_.size()))
            throw py::value_error("step: got something else, wanted a list of one entry a parameter");
    }

    void enter_era(py::handle era) {
        if (era.is(era_)) return;
        era_ = py::reinterpret_borrow<py::object>(era);
        for (parameter& p : parameters_) p.settled = false;
    }

    // What a formula depends on belongs to a number of steps, which most tensors share: formula(t) is for the t-th.
    void set_formula(py::handle steps, py::handle formula, py::handle settled_from) {
        const std::uint64_t from = settled_from.is_none() ? UINT64_MAX : PyLong_AsUnsignedLongLong(settled_from.ptr());
        const update_args* last = nullptr;
        // All before the first formula, which is Python's code and may do anything to the list.
        for (std::size_t i = 0; i < parameters_.size(); ++i)
            parameters_[i].args.step = PyLong_AsUnsignedLongLong(item(steps, i).ptr());
        if (PyErr_Occurred()) throw py::error_already_set();
        for (parameter& p : parameters_) {
            update_args& own = p.args;
            if (p.settled && own.step + 1 >= from) continue;
            if (last && last->step == own.step)
                std::copy_n(last->parameters, max_parameters, own.parameters);
            else
                read_parameters(asking_for_lock([&] { return formula(own.step + 1); }), entry().parameters,
                                own.parameters);
            p.settled = own.step + 1 >= from;
            last = &own;
        }
    }

    // The numbers of steps after this one, of parameters that have a gradient.
    void note_counts() {
        for (std::size_t i = 0; i < parameters_.size(); ++i)
            if (gradients_[i].data) counted_[i] = py::int_(parameters_[i].args.step + 1);
    }

    // Calls work(strided, buffer) for every parameter that is updated in a buffer.
    template <class F>
    void each_buffer(F&& work) const {
        for (std::size_t i = 0; i < parameters_.size(); ++i)
            if (gradients_[i].data && parameters_[i].strided)
                work(parameters_[i].strided, parameters_[i].work.object());
    }

    // All or nothing: what may fail is done before kernels write, and Python runs nothing in between.
    outcome update(py::handle steps, const std::optional<array_view>& counts, double scale, bool guarded,
                   std::optional<double> max_norm, int threads) {
        note_counts();
        each_buffer([](py::handle strided, py::handle buffer) { copy(buffer, strided); });
        const outcome result = without_gil(elements_, [&] { return run(scale, guarded, max_norm, threads); });
        if (!result.applied) return result;
        each_buffer([](py::handle strided, py::handle buffer) { copy(strided, buffer); });
        for (std::size_t i = 0; i < parameters_.size(); ++i)
            if (gradients_[i].data)
                PyList_SetItem(steps.ptr(), static_cast<py::ssize_t>(i), counted_[i].release().ptr());
        if (counts) count_in(*counts);
        return result;
    }

    void count_in(const array_view& counts) const {
        for (std::size_t i = 0; i < parameters_.size(); ++i) {
            if (!gradients_[i].data) continue;
            if (element_of(counts) == element::f64)
                reinterpret_cast<double*>(counts.mutable_data())[i] += 1;
            else
                reinterpret_cast<float*>(counts.mutable_data())[i] += 1;
        }
    }

    outcome run(double scale, bool guarded, std::optional<double> max_norm, int threads) {
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
        chunks_.each(elements_, threads, [&](std::size_t t, index, index begin, index end) {
            const parameter& p = parameters_[t];
            if (p.args.g) update.kernel[arithmetic_of(p.type)](p.args, begin, end);
        });
        return {true, norm};
    }

public:
    // `work` holds what kernels update: each parameter itself, or a buffer of its shape where it is not contiguous;
    // `masters` f32 parameters or None; `seed` that of stochastic rounding or None; steps take `own_turn`.
    update_plan(int kernel, const py::list& params, const py::list& work, const py::list& slots,
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

    turn& own_turn() const { return *turn_; }

    // Takes over a gradient after all checks. False: it must be prepared first, or kept apart from a parameter that is
    // not contiguous, which `apart` says it is.
    bool accept(std::size_t i, py::handle g, bool apart) {
        gradients_[i] = {nullptr, parameters_[i].type};
        if (g.is_none()) return true;
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
    bool accept_address(std::size_t i, py::handle address) {
        gradients_[i] = {nullptr, parameters_[i].type};
        if (address.is_none()) return true;
        static const char nothing{};  // null is the address of empty tensors, and stands for no gradient here
        const auto data = static_cast<const char*>(PyLong_AsVoidPtr(address.ptr()));
        if (PyErr_Occurred()) throw py::error_already_set();
        take(i, data ? data : &nothing);
        return true;
    }

    // The array that a step is counted in.
    std::optional<array_view> accept_counts(py::handle given) const {
        std::optional<array_view> counts = view(given);
        const auto n = static_cast<index>(parameters_.size());
        const std::optional<element> type = counts ? element_of(*counts) : std::nullopt;
        if (!type || storage_of(*type) != storage::same || !counts->has_shape(&n, 1) || !counts->object().writeable())
            throw py::type_error("counts: wanted a writeable array of float32 or float64, an entry a parameter");
        return counts;
    }

    // Are the parameters as they were?
    bool holds() const {
        return std::all_of(parameters_.begin(), parameters_.end(), [](const auto& p) { return p.own.unchanged(); });
    }

    // One step, counted in the list of steps, after all checks; the caller has taken the turn. None: something must be
    // prepared first; else whether it happened, and with the norm where one was asked for.
    template <class Accept>
    py::object step(const arguments& in, Accept&& accepts, const std::optional<array_view>& counts = std::nullopt) {
        const int threads = threads_of(in[threads_at]);
        const bool guarded = in[guarded_at].ptr() == Py_True;
        std::optional<double> max_norm;
        if (!in[max_norm_at].is_none()) max_norm = PyFloat_AsDouble(in[max_norm_at].ptr());
        check_list(in[gradients_at]);
        check_list(in[steps_at]);
        // A list of our own: another thread may change the caller's, and drop arrays, while kernels run.
        const auto gradients =
            py::reinterpret_steal<py::list>(PyList_GetSlice(in[gradients_at].ptr(), 0, PY_SSIZE_T_MAX));
        bool ready = true;
        elements_ = 0;
        for (std::size_t i = 0; i < parameters_.size(); ++i) ready &= accepts(*this, i, item(gradients, i));
        if (!ready) return py::none();
        enter_era(in[era_at]);
        set_formula(in[steps_at], in[formula_at], in[settled_from_at]);
        const double scale = PyFloat_AsDouble(in[scale_at].ptr());
        const outcome result = update(in[steps_at], counts, scale, guarded, max_norm, threads);
        return guarded ? py::object(py::make_tuple(result.applied, *result.norm)) : py::bool_(true);
    }
};

// Gradients are arrays. None also where a parameter is not as it was.
py::object step(const arguments& in) {
    auto& plan = in[plan_at].cast<update_plan&>();
    if (!plan.holds()) return py::none();
    const taken_turn own(plan.own_turn(), "step");
    return plan.step(in, [](update_plan& p, std::size_t i, py::handle g) { return p.accept(i, g, false); });
}

// The same for gradients that were prepared, in the turn of whoever prepared them.
py::object step_prepared(const arguments& in) {
    auto& plan = in[plan_at].cast<update_plan&>();
    return plan.step(in, [](update_plan& p, std::size_t i, py::handle g) { return p.accept(i, g, true); });
}

// Gradients are given by their addresses: contiguous, of the shapes and types of the parameters.
py::object step_at(const arguments& in) {
    auto& plan = in[plan_at].cast<update_plan&>();
    const taken_turn own(plan.own_turn(), "step");
    return plan.step(
        in, [](update_plan& p, std::size_t i, py::handle g) { return p.accept_address(i, g); },
        plan.accept_counts(in[counts_at]));
}

py::dict optimizer_kernels() {
    py::dict names;
    for (int i = 0; i < kernels().update_count; ++i)
        names[kernels().update[i].name] = py::make_tuple(i, kernels().update[i].slots);
    return names;
}

}  // namespace optimizers

void bind_optimizers(py::module_& m) {
    using namespace optimizers;
    m.attr("optimizer_kernels") = optimizer_kernels();
    py::class_<turn, std::shared_ptr<turn>>(m, "Turn").def(py::init<>()).def("run", run_alone);
    py::class_<update_plan>(m, "UpdatePlan")
        .def(py::init<int, py::list, py::list, py::list, py::list, std::optional<std::uint64_t>, py::object,
                      std::shared_ptr<turn>>())
        .def("holds", &update_plan::holds);
    define<step, argument_count>(m, "step");
    define<step_prepared, argument_count>(m, "step_prepared");
    define<step_at, argument_count + 1>(m, "step_at");
}

}  // namespace lossk
