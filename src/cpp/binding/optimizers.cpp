// Binding of the optimizers. Knows no optimizer: a kernel is an index into the table and its parameters.
#include "arrays.hpp"
#include "families.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/parallel.hpp"

#include <algorithm>
#include <vector>

namespace lossk {
namespace {

// One parameter of a step, its gradient and its state, and which of the fixed chunks of all parameters are its own.
struct tensor {
    update_args args;
    update_kernel kernel;
    index size, first_chunk;
};

array_view checked(py::handle object, const std::string& name, const array_view* like) {
    std::optional<array_view> a = view(object);
    if (!a) throw py::type_error(name + ": wanted a C-contiguous NumPy array");
    if (like) {
        check_same_type(*a, name.c_str(), *like, "its parameter");
        check_same_shape(*a, name.c_str(), *like, "its parameter");
    }
    return *a;
}

// kernel, per-tensor hyperparameters, params, grads, slots (a list of arrays per parameter), first flags, threads.
void update_call(int kernel, const py::tuple& parameters, const py::list& params, const py::list& grads,
                 const py::list& slots, const py::list& first, const py::object& num_threads) {
    const update_entry& entry = kernels().update[kernel];
    const int threads = threads_of(num_threads);
    std::vector<tensor> tensors(params.size());
    index chunks = 0, elements = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        tensor& t = tensors[i];
        t = {};
        const std::string at = "[" + std::to_string(i) + "]";
        const array_view p = checked(params[i], "params" + at, nullptr);
        const array_view g = checked(grads[i], "grads" + at, &p);
        const std::optional<element> e = element_of(p);
        if (!e) throw py::type_error("params" + at + ": got dtype " + p.type_text() + ", wanted float32 or float64");
        check_overlap(p, ("params" + at).c_str(), g, ("grads" + at).c_str(), false);
        t.kernel = entry.kernel[static_cast<int>(*e)];
        t.size = p.size();
        t.first_chunk = chunks;
        t.args.p = p.mutable_data();
        t.args.g = g.data();
        t.args.first = first[i].cast<bool>();
        for (int k = 0; k < entry.parameters; ++k) t.args.parameters[k] = PyFloat_AsDouble(parameters[static_cast<std::size_t>(k)].ptr());
        const auto own_slots = slots[i].cast<py::list>();
        for (int s = 0; s < entry.slots; ++s)
            t.args.slot[s] = checked(own_slots[static_cast<std::size_t>(s)], "state" + at, &p).mutable_data();
        chunks += (t.size + pointwise_chunk - 1) / pointwise_chunk;
        elements += t.size;
    }
    without_gil(elements, [&] {
        parallel_for(chunks, threads, [&](index begin, index end) {
            auto t = std::upper_bound(tensors.begin(), tensors.end(), begin,
                                      [](index c, const tensor& x) { return c < x.first_chunk; }) - 1;
            for (index c = begin; c < end; ++c) {
                while (t + 1 != tensors.end() && (t + 1)->first_chunk <= c) ++t;
                const index from = (c - t->first_chunk) * pointwise_chunk;
                t->kernel(t->args, from, std::min(from + pointwise_chunk, t->size));
            }
        });
        return 0;
    });
}

py::dict optimizer_kernels() {
    py::dict names;
    for (int i = 0; i < kernels().update_count; ++i)
        names[kernels().update[i].name] = py::make_tuple(i, kernels().update[i].slots);
    return names;
}

}  // namespace

void bind_optimizers(py::module_& m) {
    m.def("optimizer_kernels", optimizer_kernels);
    m.def("update", update_call);
}

}  // namespace lossk
