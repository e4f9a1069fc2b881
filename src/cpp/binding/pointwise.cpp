// Binding of the pointwise losses. Knows no loss: a kernel is an index into the table and its parameters.
#include "families.hpp"
#include "outputs.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/parallel.hpp"

#include <vector>

namespace lossk {
namespace {

py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

// Sum over chunks, whatever the number of threads.
template <class F>
double sum_over_chunks(index n, int threads, F&& part) {
    const index chunks = (n + pointwise_chunk - 1) / pointwise_chunk;
    if (chunks <= 1) return n > 0 ? part(0, n) : 0.0;
    std::vector<double> partial(static_cast<std::size_t>(chunks));
    parallel_for(chunks, worthwhile_threads(threads, n), [&](index first, index last) {
        for (index c = first; c < last; ++c)
            partial[static_cast<std::size_t>(c)] = part(c * pointwise_chunk, std::min((c + 1) * pointwise_chunk, n));
    });
    double total = 0;
    for (double x : partial) total += x;
    return total;
}

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const pointwise_entry* entry;
    verb what;
    element type;
    reduction how;
    std::optional<double> normalizer;
    int threads;
    std::optional<array_view> z, y, w, each;
    derivatives out;

    // False: something must be prepared first.
    bool accept(const py::args& in);
    py::object run(const py::tuple& parameters);
};

// In: kernel, parameters, verb, z, y, sample_weight, reduction, normalizer, num_threads, out, (w's name).
bool call::accept(const py::args& in) {
    entry = &kernels().pointwise[PyLong_AsLong(in[0].ptr())];
    what = verb_of(in[2]);
    how = reduction_of(in[6]);
    normalizer = normalizer_of(in[7], how);
    threads = threads_of(in[8]);
    z = view(in[3]);
    y = view(in[4]);
    if (!z || !y) return false;
    const std::optional<element> e = element_of(*z);
    if (!e || y->type() != z->type()) return false;
    type = *e;
    check_same_shape(*y, "y", *z, "z");
    if (!in[5].is_none()) {
        w = view(in[5]);
        if (!w || w->type() != z->type()) return false;
        check_same_shape(*w, "sample_weight", *z, "z");
    }
    return out.accept(in[9], what, *z, {{z, "z", true}, {y, "y"}, {w, "sample_weight"}});
}

py::object call::run(const py::tuple& parameters) {
    out.allocate(what, *z);
    if (wants_value(what) && how == reduction::none) each = fresh(z->object().dtype(), z->shape(), z->ndim());

    pointwise_args a{};
    a.z = z->data();
    a.y = y->data();
    a.w = w ? w->data() : nullptr;
    a.each = each ? each->mutable_data() : nullptr;
    a.g = out.g_data();
    a.h = out.h_data();
    a.streaming = out.g && should_stream(*out.g, *z) && (!out.h || should_stream(*out.h, *z));
    for (int i = 0; i < entry->parameters; ++i) a.parameters[i] = PyFloat_AsDouble(parameters[i].ptr());

    const index n = z->size();
    const pointwise_kernel kernel = entry->kernel[static_cast<int>(type)][static_cast<int>(what)];
    double value = 0, divisor = 1;
    without_gil(n, [&] {
        if (how == reduction::mean) {
            divisor = normalizer ? *normalizer : static_cast<double>(n);
            if (w && !normalizer) {
                const sum_kernel sum = kernels().sum[static_cast<int>(type)];
                divisor = sum_over_chunks(n, threads, [&](index b, index e) { return sum(a.w, b, e); });
            }
        }
        a.scale = 1.0 / divisor;
        value = sum_over_chunks(n, threads, [&](index b, index e) { return kernel(a, b, e); });
        return 0;
    });

    return out.result(what, each ? py::object(each->object()) : py::object(py::float_(value / divisor)));
}

py::object pointwise_call(const py::args& in) {
    call c{};
    if (!c.accept(in)) return not_implemented();
    return c.run(in[1]);
}

py::dict pointwise_kernels() {
    py::dict names;
    for (int i = 0; i < kernels().pointwise_count; ++i) names[kernels().pointwise[i].name] = i;
    return names;
}

}  // namespace

void bind_pointwise(py::module_& m) {
    m.def("pointwise_kernels", pointwise_kernels);
    m.def("pointwise", pointwise_call);
}

}  // namespace lossk
