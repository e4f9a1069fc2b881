// Binding of the losses of rows. Knows no loss: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "families.hpp"
#include "labels.hpp"
#include "pieces.hpp"
#include "request.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace rows {

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const rows_entry* entry;
    request asked;
    row_inputs in{};
    std::optional<array_view> each;
    derivatives out;
    rows_args a{};

    call(py::handle kernel, py::handle given)
        : entry(&tuned_kernels(family::rows).rows[PyLong_AsLong(kernel.ptr())]), asked(given) {}
    // False: something must be prepared first.
    bool accept(py::handle class_weight, py::handle ignore_index);
    void allocate(py::handle parameters);
    double run_rows() const;
    void check_domain() const;
    py::object run(py::handle parameters);
};

bool call::accept(py::handle class_weight, py::handle ignore_index) {
    if (!asked.classes_last || (asked.target.is_none() && entry->target != row_target::none)) return false;
    in.accept_ignored(ignore_index);
    return in.accept_z(asked.z, "z") && in.accept_weights(class_weight, asked.sample_weight) &&
           in.accept_target(asked.target, entry->target) && in.accept_out(asked.out, asked.what, out);
}

void call::allocate(py::handle parameters) {
    out.allocate(asked.what, *in.z);
    if (wants_value(asked.what) && asked.how == reduction::none)
        each = in.fresh_rows("losses", arithmetic_dtype(in.type));
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
    const rows_kernel kernel = entry->kernel[arithmetic_of(in.type)][static_cast<int>(asked.what)];
    const index per_piece = std::max(index{1}, row_chunk / in.classes);
    return sum_of_pieces(in.rows, per_piece, worthwhile_threads(asked.threads, in.z->size()),
                         [&](index begin, index end) { return kernel(a, begin, end); });
}

void call::check_domain() const {
    const rows_domain_kernel outside = entry->outside[arithmetic_of(in.type)];
    if (outside && asked.check) in.check_probabilities(outside, a.parameters, asked.threads);
}

py::object call::run(py::handle parameters) {
    const bool overwrites = out.g || out.h;
    allocate(parameters);
    if (overwrites) check_domain();
    bool outside = false;
    a.outside = asked.check && !overwrites ? &outside : nullptr;
    double value = 0, divisor = 1;
    index bad = -1;
    without_gil(in.z->size(), interrupts_of(overwrites), [&] {
        const label_summary summary = in.count(asked.threads, entry->class_weights_divide);
        bad = summary.first_bad;
        if (bad >= 0) return;
        a.label = in.label_data(asked.threads, summary);
        if (asked.how == reduction::mean) divisor = asked.normalizer ? *asked.normalizer : summary.weight;
        a.scale = 1.0 / divisor;
        value = run_rows();
    });
    if (bad >= 0) in.throw_bad_label(bad);
    if (outside) check_domain();
    return out.result(asked.what, each ? py::object(each->object()) : py::object(py::float_(value / divisor)));
}

// In: kernel, its parameters, class weights, label that is ignored.
py::object rows_call(const arguments& in, py::handle request) {
    call c(in[0], request);
    if (!c.accept(in[2], in[3])) return not_implemented();
    return c.run(in[1]);
}

py::dict rows_kernels() { return places_of(kernels().rows, kernels().rows_count); }

}  // namespace rows

void bind_rows(py::module_& m) {
    using namespace rows;
    m.attr("rows_kernels") = rows_kernels();
    define_bound<rows_call, 4>(m, "rows");
}

}  // namespace lossk
