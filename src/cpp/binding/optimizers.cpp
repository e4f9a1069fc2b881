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

// What a step is given, by position in Python's lists.
struct step {
    py::list params, grads, slots, steps;
    py::object keys;  // names of the parameters, or None: they are numbered

    std::string name(const char* what, std::size_t i) const {
        const py::object at = keys.is_none() ? py::object(py::int_(i)) : py::object(keys[py::int_(i)]);
        return std::string(what) + "[" + std::string(py::str(py::repr(at))) + "]";
    }
};

struct memory_range {
    const char *begin, *end;
    std::size_t parameter;
};

// Raises where a gradient shares memory with anything that the step writes.
void check_gradients_apart(const step& in, std::vector<memory_range> written, const std::vector<memory_range>& read) {
    std::erase_if(written, [](const memory_range& w) { return w.begin == w.end; });
    std::sort(written.begin(), written.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    for (const memory_range& g : read) {
        auto next = std::upper_bound(written.begin(), written.end(), g.begin,
                                     [](const char* at, const memory_range& w) { return at < w.begin; });
        for (const auto& w : {next, next == written.begin() ? written.end() : next - 1})
            if (w != written.end() && w->begin < g.end && g.begin < w->end)
                throw py::value_error(in.name("grads", g.parameter) + ": got memory that overlaps " +
                                      in.name("params", w->parameter) + " or its state, wanted separate memory");
    }
}

// Checks everything before anything is written. False: a gradient or parameter must be prepared first.
bool accept(const step& in, const update_entry& entry, const py::tuple& parameters, std::vector<tensor>& tensors) {
    std::vector<memory_range> written, read;
    index chunks = 0;
    for (std::size_t i = 0; i < in.params.size(); ++i) {
        if (in.grads[i].is_none()) continue;
        const std::optional<array_view> p = view(in.params[i]), g = view(in.grads[i]);
        if (!p || !g) return false;
        check_same_type(*g, in.name("grads", i).c_str(), *p, "its parameter");
        check_same_shape(*g, in.name("grads", i).c_str(), *p, "its parameter");
        if (!p->object().writeable())
            throw py::value_error(in.name("params", i) + ": got a read-only array, wanted a writeable one");
        const std::optional<element> type = element_of(*p);
        if (!type) throw py::type_error(in.name("params", i) + ": got dtype " + p->type_text() + ", wanted a float");
        tensor t{};
        t.kernel = entry.kernel[static_cast<int>(*type)];
        t.size = p->size();
        t.first_chunk = chunks;
        t.args.p = p->mutable_data();
        t.args.g = g->data();
        t.args.first = PyLong_AsLong(in.steps[i].ptr()) == 0;
        for (int k = 0; k < entry.parameters; ++k)
            t.args.parameters[k] = PyFloat_AsDouble(parameters[static_cast<std::size_t>(k)].ptr());
        written.push_back({p->data(), p->data() + p->bytes(), i});
        read.push_back({g->data(), g->data() + g->bytes(), i});
        const auto own = py::reinterpret_borrow<py::list>(in.slots[i]);
        for (int s = 0; s < entry.slots; ++s) {
            const std::optional<array_view> slot_array = view(own[static_cast<std::size_t>(s)]);
            if (!slot_array) throw py::type_error(in.name("state", i) + ": wanted a C-contiguous NumPy array");
            const array_view& slot = *slot_array;
            check_same_type(slot, in.name("state", i).c_str(), *p, "its parameter");
            check_same_shape(slot, in.name("state", i).c_str(), *p, "its parameter");
            t.args.slot[s] = slot.mutable_data();
            written.push_back({slot.data(), slot.data() + slot.bytes(), i});
        }
        chunks += (t.size + pointwise_chunk - 1) / pointwise_chunk;
        tensors.push_back(t);
    }
    check_gradients_apart(in, std::move(written), read);
    return true;
}

// One parallel region over the fixed chunks of all parameters.
void run(const std::vector<tensor>& tensors, int threads) {
    if (tensors.empty()) return;
    const tensor& last = tensors.back();
    const index chunks = last.first_chunk + (last.size + pointwise_chunk - 1) / pointwise_chunk;
    index elements = 0;
    for (const tensor& t : tensors) elements += t.size;
    without_gil(elements, [&] {
        parallel_for(chunks, worthwhile_threads(threads, elements), [&](index begin, index end) {
            auto t = std::upper_bound(tensors.begin(), tensors.end(), begin,
                                      [](index c, const tensor& x) { return c < x.first_chunk; }) -
                     1;
            for (index c = begin; c < end; ++c) {
                while (t + 1 != tensors.end() && (t + 1)->first_chunk <= c) ++t;
                const index from = (c - t->first_chunk) * pointwise_chunk;
                t->kernel(t->args, from, std::min(from + pointwise_chunk, t->size));
            }
        });
        return 0;
    });
}

bool update_call(int kernel, const py::tuple& parameters, py::list params, py::list grads, py::list slots,
                 py::list steps, py::object keys, const py::object& num_threads) {
    const int threads = threads_of(num_threads);
    const step in{std::move(params), std::move(grads), std::move(slots), std::move(steps), std::move(keys)};
    std::vector<tensor> tensors;
    tensors.reserve(in.params.size());
    if (!accept(in, kernels().update[kernel], parameters, tensors)) return false;
    run(tensors, threads);
    return true;
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
