// Binding of the activations. Knows none: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "families.hpp"
#include "outputs.hpp"
#include "pieces.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace activations {

// Positions of what Python passes.
enum argument : std::size_t {
    kernel_at,
    parameters_at,
    map_at,
    x_at,
    cotangent_at,
    threads_at,
    out_at,
    argument_count
};

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const activation_entry* entry;
    map what;
    element type;
    int threads;
    std::optional<array_view> x, c;
    derivatives out;

    // False: something must be prepared first.
    bool accept(const arguments& given);
    py::object run(py::handle parameters);
};

bool call::accept(const arguments& given) {
    entry = &tuned_kernels(family::activations).activation[PyLong_AsLong(given[kernel_at].ptr())];
    what = static_cast<map>(PyLong_AsLong(given[map_at].ptr()));
    threads = threads_of(given[threads_at]);
    x = view(given[x_at]);
    if (!x) return false;
    const std::optional<element> e = element_of(*x);
    if (!e) return false;
    type = *e;
    if (what == map::vjp) {
        c = view(given[cotangent_at]);
        if (!c || c->type() != x->type()) return false;
        check_same_shape(*c, "cotangent", *x, "x");
    }
    return out.accept(given[out_at], verb::grad, *x, {{x, "x", true}, {c, "cotangent", true}});
}

py::object call::run(py::handle parameters) {
    const bool overwrites = out.g.has_value();
    out.allocate(verb::grad, *x);
    activation_args a{};
    a.x = x->data();
    a.c = c ? c->data() : nullptr;
    a.out = out.g_data();
    a.kind = storage_of(type);
    a.streaming =
        should_stream(family::activations, *out.g, *x) && (!c || should_stream(family::activations, *out.g, *c));
    read_parameters(parameters, entry->parameters, a.parameters);

    const index n = x->size();
    const activation_kernel kernel = entry->kernel[arithmetic_of(type)][static_cast<int>(what)];
    without_gil(n, interrupts_of(overwrites), [&] {
        each_piece(n, pointwise_chunk, worthwhile_threads(threads, n),
                   [&](index, index begin, index end) { kernel(a, begin, end); });
    });
    return out.result(verb::grad, py::none());
}

py::object activation_call(const arguments& given) {
    call c{};
    if (!c.accept(given)) return not_implemented();
    return c.run(given[parameters_at]);
}

py::dict activation_kernels() { return places_of(kernels().activation, kernels().activation_count); }

// ---- gated activations ----------------------------------------------------------------------------------------------

// Positions of what Python passes. All arrays are checked and contiguous, the outputs new: what is asked here is
// only whether runs end within them.
enum gated_argument : std::size_t {
    gated_kernel_at,
    gated_x_at,
    gate_at,  // None: the second half of each run of x
    gate_repeats_at,
    run_at,
    gated_cotangent_at,  // None: the value is wanted
    gated_threads_at,
    gated_out_at,
    gate_out_at,
    gated_argument_count
};

array_view array_of_type(py::handle given, int type, index size, const char* name) {
    std::optional<array_view> a = view(given);
    if (!a || a->type() != type || a->size() != size)
        throw py::type_error(std::string(name) + ": got something else, wanted a contiguous array that belongs to x");
    return *a;
}

py::object gated_call(const arguments& given) {
    const std::optional<array_view> x = view(given[gated_x_at]);
    const std::optional<element> type = x ? element_of(*x) : std::nullopt;
    if (!type) throw py::type_error("x: got something else, wanted a contiguous array of floats");
    const bool halves = given[gate_at].is_none(), backward = !given[gated_cotangent_at].is_none();
    const index n = halves ? x->size() / 2 : x->size(), run = PyLong_AsSsize_t(given[run_at].ptr());
    if (n == 0) return py::none();
    if (run < 1 || n % run != 0 || (halves && x->size() % (2 * run) != 0))
        throw py::value_error("run: got " + std::to_string(run) + ", wanted a part of x");
    const gated_entry& entry = tuned_kernels(family::activations).gated[PyLong_AsLong(given[gated_kernel_at].ptr())];
    const index bytes = x->bytes() / x->size();
    gated_args a{};
    a.x = x->data();
    a.kind = storage_of(*type);
    a.run = run;
    a.x_step = a.gate_step = a.gate_out_step = halves ? 2 * run : run;
    a.gate_runs = n / run;
    if (halves) {
        a.gate = x->data() + run * bytes;
    } else {
        const std::optional<array_view> gate = view(given[gate_at]);
        a.gate_repeats = given[gate_repeats_at].ptr() == Py_True;
        a.gate_step = a.gate_repeats ? 1 : run;
        if (!gate || gate->type() != x->type() || gate->size() == 0 || gate->size() % a.gate_step != 0)
            throw py::type_error("gate: got something else, wanted a contiguous array of the dtype of x");
        a.gate = gate->data();
        a.gate_runs = gate->size() / a.gate_step;
    }
    std::optional<array_view> c, gate_out;
    if (backward) {
        c = array_of_type(given[gated_cotangent_at], x->type(), n, "cotangent");
        a.c = c->data();
        if (!halves) gate_out = array_of_type(given[gate_out_at], x->type(), n, "gate_out");
    }
    const array_view out = array_of_type(given[gated_out_at], x->type(), backward ? x->size() : n, "out");
    a.out = out.mutable_data();
    a.gate_out = halves ? out.mutable_data() + run * bytes : gate_out ? gate_out->mutable_data() : nullptr;
    const gated_kernel kernel = entry.kernel[arithmetic_of(*type)];
    const int threads = threads_of(given[gated_threads_at]);
    without_gil(n, interrupts::allowed, [&] {
        each_piece(n, pointwise_chunk, worthwhile_threads(threads, n),
                   [&](index, index begin, index end) { kernel(a, begin, end); });
    });
    return py::none();
}

}  // namespace activations

void bind_activations(py::module_& m) {
    using namespace activations;
    m.attr("activation_kernels") = activation_kernels();
    define<activation_call, argument_count>(m, "activation");
    m.attr("gated_kernels") = places_of(kernels().gated, kernels().gated_count);
    define<gated_call, gated_argument_count>(m, "gated");
}

}  // namespace lossk
