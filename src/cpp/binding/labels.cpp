// What comes with rows of numbers, checked: shapes, types, and every label before anything is written.
#include "labels.hpp"
#include "pieces.hpp"
#include "request.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace {

constexpr index label_chunk = 16384;

// The indices of an element, "1, 0, 7", from its place in memory.
std::string place_of(index at, const index* shape, int ndim) {
    std::string told;
    for (int axis = ndim - 1; axis >= 0; --axis) {
        told = std::to_string(at % shape[axis]) + (told.empty() ? "" : ", ") + told;
        at /= shape[axis];
    }
    return told;
}

}  // namespace

void row_inputs::accept_ignored(py::handle given) {
    if (!given.is_none()) ignore_index = PyLong_AsLongLong(given.ptr());
}

bool row_inputs::accept_z(py::handle given, const char* name) {
    z_name = name;
    z = view(given);
    if (!z) return false;
    const std::optional<element> e = element_of(*z);
    if (!e) return false;
    type = *e;
    if (z->ndim() == 0) throw py::value_error(std::string(name) + ": got a 0-dimensional array, wanted shape (..., C)");
    classes = z->shape(leading());
    if (classes == 0)
        throw py::value_error(std::string(name) + ": got shape " + z->shape_text() + ", wanted at least one class");
    rows = z->size() / classes;
    return true;
}

bool row_inputs::accept_weights(py::handle of_classes, py::handle of_rows) {
    if (!of_classes.is_none()) {
        class_weight = constant_for(of_classes, type);
        if (!class_weight || !is_arithmetic(*class_weight, type)) return false;
        if (!class_weight->has_shape(&classes, 1))
            throw py::value_error("weight: got shape " + class_weight->shape_text() + ", wanted " +
                                  shape_text(&classes, 1) + ", one weight a class");
    }
    if (!of_rows.is_none()) {
        w = view(of_rows);
        if (!w || !is_arithmetic(*w, type)) return false;
        if (!w->has_shape(z->shape(), leading()))
            throw py::value_error("sample_weight: got shape " + w->shape_text() + ", wanted " +
                                  shape_text(z->shape(), leading()) + ", one weight a row");
    }
    return true;
}

bool row_inputs::accept_target(py::handle given, row_target wanted) {
    if (given.is_none()) return true;
    std::optional<array_view> y = view(given);
    if (!y) return false;
    const std::optional<integer> i = integer_of(*y);
    if (wanted == (i ? row_target::elements : row_target::labels)) return false;
    if (i) {
        if (!y->has_shape(z->shape(), leading())) return false;
        label = y;
        label_type = *i;
        return true;
    }
    if (y->type() != z->type() || !y->same_shape(*z)) return false;
    target = y;
    return true;
}

void row_inputs::check_ignored() const {
    if (target && ignore_index && *ignore_index >= 0)
        throw py::value_error("ignore_index: got " + std::to_string(*ignore_index) +
                              ", wanted None or a negative one: probabilities as targets have no label");
}

bool row_inputs::accept_out(py::handle given, verb what, derivatives& out) const {
    return out.accept(
        given, what, *z,
        {{z, z_name, true}, {label, "target"}, {target, "target"}, {class_weight, "weight"}, {w, "sample_weight"}});
}

label_args row_inputs::label_arguments(bool with_class_weights) const {
    return {label->data(),
            nullptr,
            classes,
            ignore_index.has_value(),
            ignore_index.value_or(0),
            with_class_weights ? class_weight_data() : nullptr,
            row_weight_data()};
}

label_summary row_inputs::check_labels(int threads, bool with_class_weights) {
    const label_args a = label_arguments(with_class_weights);
    const label_kernel kernel = kernels().label[static_cast<int>(label_type)][arithmetic_of(type)];
    label_summary all{-1, 0, 0};
    for (const label_summary& s : results_of_pieces(rows, label_chunk, worthwhile_threads(threads, rows),
                                                    [&](index b, index e) { return kernel(a, b, e); })) {
        if (all.first_bad < 0) all.first_bad = s.first_bad;
        all.counted += s.counted;
        all.weight += s.weight;
    }
    return all;
}

const std::int64_t* row_inputs::label_data(int threads, const label_summary& counted, bool guarded) {
    if (!label) return nullptr;
    // 64-bit labels of which none is ignored are what kernels want, but another thread may change them after the check.
    if (guarded && (label_type == integer::i64 || label_type == integer::u64) && counted.counted == rows)
        return reinterpret_cast<const std::int64_t*>(label->data());
    const auto n = static_cast<std::size_t>(rows);
    converted_ = allocate("copy of target", n * sizeof(std::int64_t),
                          [&] { return std::unique_ptr<std::int64_t[]>(new std::int64_t[n]); });
    label_args a = label_arguments(false);
    a.converted = converted_.get();
    const label_kernel kernel = kernels().label[static_cast<int>(label_type)][arithmetic_of(type)];
    each_piece(rows, label_chunk, worthwhile_threads(threads, rows), [&](index, index b, index e) { kernel(a, b, e); });
    return converted_.get();
}

label_summary row_inputs::count(int threads, bool with_class_weights) {
    if (label) return check_labels(threads, with_class_weights);
    // Rows without a label are weighed by the samples' weights alone.
    const bool weighed = target && w;
    const sum_kernel sum = kernels().sum[arithmetic_of(type)];
    return {-1, rows, weighed ? sum(row_weight_data(), 0, rows) : static_cast<double>(rows)};
}

void row_inputs::check_probabilities(rows_domain_kernel outside, const double* parameters, int threads) const {
    rows_args a{};
    a.classes = classes;
    a.target = target_data();
    a.row_weight = row_weight_data();
    a.kind = storage_of(type);
    std::copy_n(parameters, max_parameters, a.parameters);
    const index per_piece = std::max(index{1}, row_chunk / classes);
    const auto firsts = without_gil(z->size(), interrupts::allowed, [&] {
        return results_of_pieces(rows, per_piece, worthwhile_threads(threads, z->size()),
                                 [&](index b, index e) { return outside(a, b, e); });
    });
    for (const index at : firsts)
        if (at >= 0)
            throw py::value_error("target[" + place_of(at, z->shape(), z->ndim()) + "]: got " +
                                  std::string(py::str(py::float_(target->object().attr("flat")[py::int_(at)]))) +
                                  ", wanted a probability, at least 0");
}

void row_inputs::throw_bad_label(index row) const {
    const std::string at = place_of(row, z->shape(), leading());
    const py::object value = label->object().attr("flat")[py::int_(row)];
    throw py::index_error("target[" + at + "]: got " + std::string(py::str(value)) + ", wanted a label in [0, " +
                          std::to_string(classes) + ")" +
                          (ignore_index ? " or ignore_index (" + std::to_string(*ignore_index) + ")" : std::string()));
}

}  // namespace lossk
