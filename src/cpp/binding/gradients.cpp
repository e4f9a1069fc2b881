// Binding of clip_grad_norm: gradients of all tensors scaled in place.
#include "families.hpp"
#include "tensors.hpp"

#include "../runtime/cpu.hpp"

#include <cmath>

namespace lossk {
namespace gradients {

// The norm of all gradients, which are scaled so that it is at most max_norm; None: one must be prepared first.
// `owners` is None, or a list of the arrays that gradients were copied from and go back to.
py::object clip_call(const py::list& grads, const py::object& keys, double max_norm, const py::object& num_threads,
                     const py::object& owners) {
    const int threads = threads_of(num_threads);
    chunk_list chunks;
    memory_map memory;
    std::vector<gradient> gradients;
    index elements = 0;
    for (std::size_t i = 0; i < grads.size(); ++i) {
        if (grads[i].is_none()) continue;
        const std::optional<array_view> g = view(grads[i]);
        if (!g) return py::none();
        const std::optional<element> type = element_of(*g);
        const auto name = [&] { return tensor_name("grads", keys, i); };
        if (!type) throw py::type_error(name() + ": got dtype " + g->type_text() + ", wanted a float");
        if (!g->object().writeable()) throw py::value_error(name() + ": got a read-only array, wanted a writeable one");
        memory.add(*g, i);
        chunks.add(g->size());
        gradients.push_back({g->data(), *type});
        elements += g->size();
    }
    memory.sort();
    if (const auto pair = memory.collision())
        throw py::value_error(tensor_name("grads", keys, pair->second) + ": got memory that overlaps " +
                              tensor_name("grads", keys, pair->first) + ", wanted separate memory");
    const py::float_ before(without_gil(elements, interrupts::deferred, [&] {
        const double norm = norm_of(chunks, gradients, elements, threads);
        const double factor = clip_factor(norm, max_norm);
        if (!std::isfinite(norm) || factor == 1.0) return norm;
        chunks.each(elements, threads, [&](std::size_t t, index, index begin, index end) {
            const gradient& g = gradients[t];
            const scale_kernel kernel = kernels().scale[arithmetic_of(g.type)];
            kernel(storage_of(g.type), const_cast<void*>(g.data), factor, begin, end);
        });
        return norm;
    }));
    // Python runs nothing in between: all gradients are scaled or none.
    if (!owners.is_none())
        for (std::size_t i = 0; i < grads.size(); ++i) copy(owners[py::int_(i)], grads[i]);
    return before;
}

}  // namespace gradients

void bind_gradients(py::module_& m) {
    using namespace gradients;
    m.def("clip_grad_norm", clip_call);
}

}  // namespace lossk
