// Binding of the pointwise losses. Knows no loss: a kernel is an index into the table and its parameters.
#include "arrays.hpp"
#include "families.hpp"

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
    std::optional<array_view> z, y, w, g, h, each;

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
    const py::object out = in[9];
    if (out.is_none() || !wants_grad(what)) return true;
    py::object g_out = out, h_out;
    if (wants_hess(what)) {
        if (!py::isinstance<py::tuple>(out) || py::len(out) != 2)
            throw py::type_error("out: got " + std::string(py::str(py::type::handle_of(out).attr("__name__"))) +
                                 ", wanted a tuple of two arrays, for the gradient and the second derivative");
        g_out = out[py::int_(0)], h_out = out[py::int_(1)];
    }
    g = output_view(g_out, wants_hess(what) ? "out[0]" : "out", *z);
    if (wants_hess(what)) h = output_view(h_out, "out[1]", *z);
    return g && (!wants_hess(what) || h);
}

py::object call::run(const py::tuple& parameters) {
    for (const auto* out : {&g, &h}) {
        if (!*out) continue;
        check_overlap(**out, "out", *z, "z", true);
        check_overlap(**out, "out", *y, "y", false);
        if (w) check_overlap(**out, "out", *w, "sample_weight", false);
    }
    if (g && h) check_overlap(*h, "out[1]", *g, "out[0]", false);

    const auto shape = reinterpret_cast<const index*>(z->object().shape());
    const py::dtype dtype = z->object().dtype();
    if (wants_grad(what) && !g) g = fresh(dtype, shape, z->ndim());
    if (wants_hess(what) && !h) h = fresh(dtype, shape, z->ndim());
    if (wants_value(what) && how == reduction::none) each = fresh(dtype, shape, z->ndim());

    pointwise_args a{};
    a.z = z->data();
    a.y = y->data();
    a.w = w ? w->data() : nullptr;
    a.each = each ? each->mutable_data() : nullptr;
    a.g = g ? g->mutable_data() : nullptr;
    a.h = h ? h->mutable_data() : nullptr;
    a.streaming = g && should_stream(*g, *z) && should_stream(*g, *y) && (!h || should_stream(*h, *z));
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

    const py::object v = each ? py::object(each->object()) : py::object(py::float_(value / divisor));
    switch (what) {
        case verb::value: return v;
        case verb::grad: return g->object();
        case verb::value_and_grad: return py::make_tuple(v, g->object());
        default: return py::make_tuple(g->object(), h->object());
    }
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
