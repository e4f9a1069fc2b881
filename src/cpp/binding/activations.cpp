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
    without_gil(n, [&] {
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

}  // namespace activations

void bind_activations(py::module_& m) {
    using namespace activations;
    m.attr("activation_kernels") = activation_kernels();
    define<activation_call, argument_count>(m, "activation");
}

}  // namespace lossk
