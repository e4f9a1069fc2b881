// Binding of the losses of rows. Knows no loss: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "families.hpp"
#include "labels.hpp"
#include "pieces.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace rows {

// Positions of what Python passes.
enum argument : std::size_t {
    kernel_at,
    parameters_at,
    verb_at,
    z_at,
    target_at,
    class_weight_at,
    ignore_index_at,
    sample_weight_at,
    reduction_at,
    normalizer_at,
    threads_at,
    out_at,
    argument_count,
};

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const rows_entry* entry;
    row_inputs in;
    verb what;
    reduction how;
    std::optional<double> normalizer;
    int threads;
    std::optional<array_view> each;
    derivatives out;
    rows_args a{};

    // False: something must be prepared first.
    bool accept(const arguments& given);
    void allocate(py::handle parameters);
    double run_rows() const;
    py::object run(py::handle parameters);
};

bool call::accept(const arguments& given) {
    entry = &tuned_kernels(family::rows).rows[PyLong_AsLong(given[kernel_at].ptr())];
    what = verb_of(given[verb_at]);
    how = reduction_of(given[reduction_at]);
    normalizer = normalizer_of(given[normalizer_at], how);
    threads = threads_of(given[threads_at]);
    if (!given[ignore_index_at].is_none()) in.ignore_index = PyLong_AsLongLong(given[ignore_index_at].ptr());
    return in.accept_z(given[z_at], "z") && in.accept_weights(given[class_weight_at], given[sample_weight_at]) &&
           in.accept_target(given[target_at], entry->target) && in.accept_out(given[out_at], what, out);
}

void call::allocate(py::handle parameters) {
    out.allocate(what, *in.z);
    if (wants_value(what) && how == reduction::none) each = in.fresh_rows("losses", arithmetic_dtype(in.type));
    a.z = in.z->data();
    a.kind = storage_of(in.type);
    a.classes = in.classes;
    a.target = in.target_data();
    a.class_weight = in.class_weight_data();
    a.row_weight = in.row_weight_data();
    a.each = each ? each->mutable_data() : nullptr;
    a.g = out.g_data();
    a.h = out.h_data();
    a.streaming = a.kind == storage::same && out.g &&
                  out.g->bytes() > stream_from(family::rows);  // where kernels read in place: no
    read_parameters(parameters, entry->parameters, a.parameters);
}

double call::run_rows() const {
    const rows_kernel kernel = entry->kernel[arithmetic_of(in.type)][static_cast<int>(what)];
    const index per_piece = std::max(index{1}, row_chunk / in.classes);
    return sum_of_pieces(in.rows, per_piece, worthwhile_threads(threads, in.z->size()),
                         [&](index begin, index end) { return kernel(a, begin, end); });
}

py::object call::run(py::handle parameters) {
    allocate(parameters);
    double value = 0, divisor = 1;
    index bad = -1;
    without_gil(in.z->size(), [&] {
        const label_summary summary = in.count(threads, entry->class_weights_divide);
        bad = summary.first_bad;
        if (bad >= 0) return;
        a.label = in.label_data(threads, summary);
        if (how == reduction::mean) divisor = normalizer ? *normalizer : summary.weight;
        a.scale = 1.0 / divisor;
        value = run_rows();
    });
    if (bad >= 0) in.throw_bad_label(bad);
    return out.result(what, each ? py::object(each->object()) : py::object(py::float_(value / divisor)));
}

py::object rows_call(const arguments& given) {
    call c{};
    if (!c.accept(given)) return not_implemented();
    return c.run(given[parameters_at]);
}

py::dict rows_kernels() { return places_of(kernels().rows, kernels().rows_count); }

}  // namespace rows

void bind_rows(py::module_& m) {
    using namespace rows;
    m.attr("rows_kernels") = rows_kernels();
    define<rows_call, argument_count>(m, "rows");
}

}  // namespace lossk
