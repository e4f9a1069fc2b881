// Binding of the softmax family: cross-entropy, softmax, log-softmax and log-sum-exp over the last axis.
#include "families.hpp"
#include "outputs.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/parallel.hpp"

#include <algorithm>
#include <memory>
#include <vector>

namespace lossk {
namespace {

// What is kept between the passes over a row competes for the cache with what is streamed: only large outputs gain.
constexpr double streaming_caches = 2;
constexpr index streaming_row_limit = index{4} << 20;  // bytes: longer rows would not fit their scratch in cache

// Positions of what Python passes.
enum argument : std::size_t {
    output_at,
    verb_at,
    z_at,
    target_at,
    smoothing_at,
    z_loss_at,
    softcap_at,
    class_weight_at,
    ignore_index_at,
    sample_weight_at,
    reduction_at,
    normalizer_at,
    threads_at,
    out_at,
    stats_at,
};

struct call {
    verb what;
    element type;
    reduction how;
    std::optional<double> normalizer;
    int threads;
    bool stats;
    row_output output;
    std::optional<array_view> z, label, target, class_weight, w, each, lse, correct;
    derivatives out;
    softmax_args a{};
    label_args labels{};
    integer label_type{};

    bool accept(const py::args& in);
    bool accept_target(const py::args& in);
    void allocate();
    void check_labels(std::int64_t* checked);
    double divide();
    double run_rows();
    double run_split();
    py::object run();
    py::object result(double value) const;

    int leading() const { return z->ndim() - 1; }
    std::string z_name;
    const softmax_entry& family() const { return kernels().softmax[arithmetic_of(type)]; }
};

bool call::accept(const py::args& in) {
    output = static_cast<row_output>(PyLong_AsLong(in[output_at].ptr()));
    what = verb_of(in[verb_at]);
    how = reduction_of(in[reduction_at]);
    normalizer = normalizer_of(in[normalizer_at], how);
    threads = threads_of(in[threads_at]);
    stats = in[stats_at].ptr() == Py_True;
    z = view(in[z_at]);
    z_name = in[target_at].is_none() ? "x" : "z";
    if (!z) return false;
    const std::optional<element> e = element_of(*z);
    if (!e) return false;
    type = *e;
    if (z->ndim() == 0) throw py::value_error(z_name + ": got a 0-dimensional array, wanted shape (..., C)");

    a.classes = z->shape(leading());
    a.rows = a.classes ? z->size() / a.classes : 0;
    a.label_smoothing = PyFloat_AsDouble(in[smoothing_at].ptr());
    a.z_loss = PyFloat_AsDouble(in[z_loss_at].ptr());
    a.softcap = PyFloat_AsDouble(in[softcap_at].ptr());
    a.output = output;
    labels.ignore_index = PyLong_AsLongLong(in[ignore_index_at].ptr());
    if (a.classes == 0)
        throw py::value_error(z_name + ": got shape " + z->shape_text() + ", wanted at least one class");

    if (!in[class_weight_at].is_none()) {
        class_weight = view(in[class_weight_at]);
        if (!class_weight || !is_arithmetic(*class_weight, type)) return false;
        if (!class_weight->has_shape(&a.classes, 1))
            throw py::value_error("weight: got shape " + class_weight->shape_text() + ", wanted " +
                                  shape_text(&a.classes, 1) + ", one weight a class");
    }
    if (!in[sample_weight_at].is_none()) {
        w = view(in[sample_weight_at]);
        if (!w || !is_arithmetic(*w, type)) return false;
        if (!w->has_shape(z->shape(), leading()))
            throw py::value_error("sample_weight: got shape " + w->shape_text() + ", wanted " +
                                  shape_text(z->shape(), leading()) + ", one weight a row");
    }
    return accept_target(in) && out.accept(in[out_at], what, *z,
                                           {{z, z_name.c_str(), true},
                                            {label, "target"},
                                            {target, "target"},
                                            {class_weight, "weight"},
                                            {w, "sample_weight"}});
}

bool call::accept_target(const py::args& in) {
    if (in[target_at].is_none()) return true;
    std::optional<array_view> y = view(in[target_at]);
    if (!y) return false;
    if (const std::optional<integer> i = integer_of(*y)) {
        if (!y->has_shape(z->shape(), leading()))
            throw py::value_error("target: got labels of shape " + y->shape_text() + ", wanted " +
                                  shape_text(z->shape(), leading()) + ", the shape of z without its class axis");
        label = y;
        label_type = *i;
        return true;
    }
    if (y->type() != z->type()) return false;
    if (!y->same_shape(*z))
        throw py::value_error("target: got probabilities of shape " + y->shape_text() + ", wanted " + z->shape_text() +
                              ", the shape of z (labels are integers)");
    target = y;
    return true;
}

void call::allocate() {
    const py::dtype dtype = arithmetic_dtype(type);
    out.allocate(what, *z);
    if (wants_value(what) && how == reduction::none) each = fresh(dtype, z->shape(), leading());
    if (stats) {
        lse = fresh(dtype, z->shape(), leading());
        correct = fresh(py::dtype::of<bool>(), z->shape(), leading());
    }
    a.z = z->data();
    a.target = target ? target->data() : nullptr;
    a.class_weight = class_weight ? class_weight->data() : nullptr;
    a.row_weight = w ? w->data() : nullptr;
    a.each = each ? each->mutable_data() : nullptr;
    a.g = out.g_data();
    a.h = out.h_data();
    a.lse = lse ? lse->mutable_data() : nullptr;
    a.correct = correct ? reinterpret_cast<std::uint8_t*>(correct->mutable_data()) : nullptr;
    a.kind = storage_of(type);
    const index row_bytes = a.classes * dtype.itemsize();
    a.streaming = out.g && a.classes > few_classes && row_bytes <= streaming_row_limit &&
                  should_stream(*out.g, *z, streaming_caches);
    a.scratch_stride =
        softmax_scratch_bytes(a.classes, dtype.itemsize(), a.streaming || (a.g && a.kind != storage::same));
}

// Checks the labels, which also tells how many rows count and what they weigh.
void call::check_labels(std::int64_t* checked) {
    labels.label = label->data();
    labels.checked = checked;
    labels.classes = a.classes;
    labels.class_weight = a.class_weight;
    labels.row_weight = a.row_weight;
    a.label = checked;
}

[[noreturn]] void throw_bad_label(const call& c, index row) {
    std::string at;
    index rest = row;
    for (int axis = c.leading() - 1; axis >= 0; --axis) {
        at = std::to_string(rest % c.z->shape(axis)) + (at.empty() ? "" : ", ") + at;
        rest /= c.z->shape(axis);
    }
    const py::object value = c.label->object().attr("flat")[py::int_(row)];
    throw py::index_error("target[" + at + "]: got " + std::string(py::str(value)) + ", wanted a label in [0, " +
                          std::to_string(c.a.classes) + ") or ignore_index (" + std::to_string(c.labels.ignore_index) +
                          ")");
}

constexpr index label_chunk = 16384;

label_summary summarize(const call& c) {
    const label_kernel kernel = kernels().label[static_cast<int>(c.label_type)][arithmetic_of(c.type)];
    const index chunks = (c.a.rows + label_chunk - 1) / label_chunk;
    std::vector<label_summary> part(static_cast<std::size_t>(chunks));
    parallel_for(chunks, worthwhile_threads(c.threads, c.a.rows), [&](index first, index last) {
        for (index i = first; i < last; ++i)
            part[static_cast<std::size_t>(i)] =
                kernel(c.labels, i * label_chunk, std::min((i + 1) * label_chunk, c.a.rows));
    });
    label_summary all{-1, 0, 0};
    for (const label_summary& s : part) {
        if (all.first_bad < 0) all.first_bad = s.first_bad;
        all.counted += s.counted;
        all.weight += s.weight;
    }
    return all;
}

// Rows to a piece: a chunk's worth, and where rows are long several all the same, as a row is written while the next
// is reduced, but not so many that threads would run out of pieces.
index rows_per_piece(index rows, index classes) {
    const index chunkful = row_chunk / classes;
    return chunkful >= 64 ? chunkful / 64 * 64 : std::max(chunkful, std::clamp(rows / 64, index{1}, index{8}));
}

double call::run_rows() {
    const index per_piece = rows_per_piece(a.rows, a.classes);
    const index pieces = (a.rows + per_piece - 1) / per_piece;
    const softmax_kernel rows = a.classes <= few_classes ? family().few : family().whole;
    std::vector<double> partial(static_cast<std::size_t>(pieces));
    parallel_for(pieces, worthwhile_threads(threads, 2 * z->size()), [&](index first, index last) {
        softmax_args own = a;
        own.scratch =
            thread_scratch(static_cast<std::size_t>(2 * a.scratch_stride));  // of a row and of the one before it
        for (index i = first; i < last; ++i)
            partial[static_cast<std::size_t>(i)] = rows(own, i * per_piece, std::min((i + 1) * per_piece, a.rows));
    });
    double total = 0;
    for (double x : partial) total += x;
    return total;
}

// Few long rows: their chunks are shared out, twice.
double call::run_split() {
    const index items = a.rows * ((a.classes + row_chunk - 1) / row_chunk);
    const softmax_entry& rows = family();
    a.scratch = thread_scratch(static_cast<std::size_t>(a.rows * a.scratch_stride));
    parallel_for(items, threads, [&](index first, index last) { rows.reduce(a, first, last); });
    double total = 0;
    for (index row = 0; row < a.rows; ++row) total += rows.finish(a, row, row + 1);
    if (wants_grad(what)) parallel_for(items, threads, [&](index first, index last) { rows.write(a, first, last); });
    return total;
}

py::object call::run() {
    allocate();
    const auto checked = std::make_unique_for_overwrite<std::int64_t[]>(label ? static_cast<std::size_t>(a.rows) : 0);
    if (label) check_labels(checked.get());
    double value = 0, divisor = 1;
    index bad = -1;
    without_gil(z->size(), [&] {
        label_summary summary{-1, a.rows, static_cast<double>(a.rows)};
        if (label) summary = summarize(*this);
        bad = summary.first_bad;
        if (bad >= 0) return;
        if (target && w) {
            // Rows of probabilities are weighed by the samples' weights alone.
            summary.weight = kernels().sum[arithmetic_of(type)](a.row_weight, 0, a.rows);
        }
        if (how == reduction::mean) divisor = normalizer ? *normalizer : summary.weight;
        a.scale = output == row_output::loss ? 1.0 / divisor : 1.0;
        const bool split = threads > 1 && a.rows < 2 * threads && a.classes >= 2 * row_chunk;
        if (a.rows > 0) value = split ? run_split() : run_rows();
    });
    if (bad >= 0) throw_bad_label(*this, bad);
    return result(value / divisor);
}

py::object call::result(double value) const {
    const py::object main = out.result(what, each ? py::object(each->object()) : py::object(py::float_(value)));
    if (!stats) return main;
    return py::make_tuple(main, lse->object(), correct->object());
}

py::object softmax_call(const py::args& in) {
    call c{};
    if (!c.accept(in)) return py::reinterpret_borrow<py::object>(Py_NotImplemented);
    return c.run();
}

}  // namespace

void bind_softmax(py::module_& m) { m.def("softmax", softmax_call); }

}  // namespace lossk
