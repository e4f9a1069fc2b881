// Binding of the losses of pairs and triplets. Knows no loss: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace pairs {

// The fields of `_asked` in python/lossk/losses/_pairs.py. Those at the end may be left out.
enum field : Py_ssize_t { verb_at, inputs_at, target_at, weight_at, reduction_at, normalizer_at, threads_at, out_at };

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const pairs_entry* entry;
    py::handle given;
    verb what;
    reduction how;
    std::optional<double> normalizer;
    int threads;
    element type{};
    std::optional<array_view> x[max_inputs], g[max_inputs];
    std::optional<array_view> target, w, each;
    pairs_args a{};

    call(py::handle kernel, py::handle asked);
    py::handle item(field at) const { return PyTuple_GET_ITEM(given.ptr(), at); }
    int leading() const { return x[0]->ndim() - !entry->single; }
    index samples() const { return entry->single ? x[0]->size() : x[0]->size() / a.length; }
    // False: something must be prepared first.
    bool accept(py::handle names);
    bool accept_numbers(std::optional<array_view>& to, py::handle from, const char* name);
    bool accept_out(py::handle out, const std::string* names);
    double divide(int worthwhile) const;
    py::object run(py::handle parameters);
};

call::call(py::handle kernel, py::handle asked)
    : entry(&tuned_kernels(family::rows).pairs[PyLong_AsLong(kernel.ptr())]), given(asked) {
    if (!PyTuple_Check(asked.ptr()) || PyTuple_GET_SIZE(asked.ptr()) != out_at + 1)
        throw py::type_error("got something else, wanted a request of pairs");
    what = verb_of(item(verb_at));
    how = reduction_of(item(reduction_at));
    normalizer = normalizer_of(item(normalizer_at), how);
    threads = threads_of(item(threads_at));
}

// One number a sample, in the type of the arithmetic.
bool call::accept_numbers(std::optional<array_view>& to, py::handle from, const char* name) {
    to = view(from);
    if (!to || !is_arithmetic(*to, type)) return false;
    if (to->has_shape(x[0]->shape(), leading())) return true;
    if (to->ndim() == 0 && &to == &target) return false;  // one number, every sample's
    throw py::value_error(std::string(name) + ": got shape " + to->shape_text() + ", wanted " +
                          shape_text(x[0]->shape(), leading()) + ", one entry a sample");
}

bool call::accept(py::handle names) {
    std::string name[max_inputs];
    for (int i = 0; i < entry->inputs; ++i) {
        name[i] = py::str(PyTuple_GET_ITEM(names.ptr(), i));
        x[i] = view(PyTuple_GET_ITEM(item(inputs_at).ptr(), i));
        if (!x[i] || (i > 0 && x[i]->type() != x[0]->type())) return false;
        if (i > 0) check_same_shape(*x[i], name[i].c_str(), *x[0], name[0].c_str());
    }
    const std::optional<element> e = element_of(*x[0]);
    if (!e) return false;
    type = *e;
    a.length = 1;
    if (!entry->single) {
        if (leading() < 0 || x[0]->shape(leading()) == 0)
            throw py::value_error(name[0] + ": got shape " + x[0]->shape_text() +
                                  ", wanted (..., D), rows of at least one element");
        a.length = x[0]->shape(leading());
    }
    return (!entry->targets || accept_numbers(target, item(target_at), "y")) &&
           (item(weight_at).is_none() || accept_numbers(w, item(weight_at), "sample_weight")) &&
           accept_out(item(out_at), name);
}

// A gradient may overwrite its own input, and nothing else.
bool call::accept_out(py::handle out, const std::string* names) {
    if (out.is_none() || !wants_grad(what)) return true;
    const Py_ssize_t wanted = entry->inputs;
    if (!PyTuple_Check(out.ptr()) || PyTuple_GET_SIZE(out.ptr()) != wanted)
        throw py::type_error("out: got " + std::string(py::str(py::type::handle_of(out).attr("__name__"))) +
                             ", wanted a tuple of " + std::to_string(wanted) + " arrays or None, one an input");
    for (int i = 0; i < wanted; ++i) {
        const py::handle one = PyTuple_GET_ITEM(out.ptr(), i);
        const std::string name = "out[" + std::to_string(i) + "]";
        g[i] = output_view(one, name.c_str(), *x[0]);
        if (!g[i]) return false;
        for (int k = 0; k < wanted; ++k) check_overlap(*g[i], name.c_str(), *x[k], names[k].c_str(), k == i);
        if (target) check_overlap(*g[i], name.c_str(), *target, "y", false);
        if (w) check_overlap(*g[i], name.c_str(), *w, "sample_weight", false);
        for (int k = 0; k < i; ++k)
            check_overlap(*g[i], name.c_str(), *g[k], ("out[" + std::to_string(k) + "]").c_str(), false);
    }
    return true;
}

double call::divide(int worthwhile) const {
    if (how != reduction::mean) return 1;
    if (normalizer) return *normalizer;
    if (!w) return static_cast<double>(samples());
    const sum_kernel sum = kernels().sum[arithmetic_of(type)];
    return sum_of_pieces(samples(), pointwise_chunk, worthwhile, [&](index b, index e) { return sum(a.w, b, e); });
}

py::object call::run(py::handle parameters) {
    if (wants_value(what) && how == reduction::none)
        each = fresh("losses", arithmetic_dtype(type), x[0]->shape(), leading());
    for (int i = 0; i < entry->inputs; ++i) {
        if (wants_grad(what) && !g[i]) g[i] = fresh("gradient", x[0]->object().dtype(), x[0]->shape(), x[0]->ndim());
        a.x[i] = x[i]->data();
        a.g[i] = g[i] ? g[i]->mutable_data() : nullptr;
    }
    a.target = target ? target->data() : nullptr;
    a.w = w ? w->data() : nullptr;
    a.each = each ? each->mutable_data() : nullptr;
    a.kind = storage_of(type);
    read_parameters(parameters, entry->parameters, a.parameters);

    const pairs_kernel kernel = entry->kernel[arithmetic_of(type)];
    const index per_piece = std::max(index{1}, row_chunk / a.length);
    const int worthwhile = worthwhile_threads(threads, x[0]->size());
    double value = 0, divisor = 1;
    without_gil(x[0]->size(), interrupts_of(!item(out_at).is_none()), [&] {
        divisor = divide(worthwhile);
        // Gradients of single pairs are weighed before they are scaled: those of weights that are all 0 stay 0.
        a.scale = entry->single && divisor == 0 ? 0.0 : 1.0 / divisor;
        value = sum_of_pieces(samples(), per_piece, worthwhile, [&](index b, index e) { return kernel(a, b, e); });
    });
    const py::object main = each ? py::object(each->object()) : py::object(py::float_(value / divisor));
    if (!wants_grad(what)) return main;
    py::tuple gradients(entry->inputs);
    for (int i = 0; i < entry->inputs; ++i) gradients[static_cast<std::size_t>(i)] = g[i]->object();
    return wants_value(what) ? py::object(py::make_tuple(main, gradients)) : py::object(gradients);
}

// In: kernel, its parameters, names of the inputs.
py::object pairs_call(const arguments& in, py::handle request) {
    call c(in[0], request);
    if (!c.accept(in[2])) return not_implemented();
    return c.run(in[1]);
}

py::dict pairs_kernels() { return places_of(kernels().pairs, kernels().pairs_count); }

}  // namespace pairs

void bind_pairs(py::module_& m) {
    using namespace pairs;
    m.attr("pairs_kernels") = pairs_kernels();
    define_bound<pairs_call, 3>(m, "pairs");
}

}  // namespace lossk
