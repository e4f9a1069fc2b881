// Rows of numbers and what comes with them: labels or a target like z, weights of classes and of rows, who counts.
#pragma once

#include <memory>

#include "outputs.hpp"

namespace lossk {

struct row_inputs {
    std::optional<array_view> z;  // (..., C)
    std::optional<array_view> label, target, class_weight, w;
    const char* z_name = "z";
    element type{};
    integer label_type{};
    index rows = 0, classes = 0;
    std::optional<std::int64_t> ignore_index;

    // Take over what the user passed. False: something must be prepared first.
    void accept_ignored(py::handle given);
    bool accept_z(py::handle given, const char* name);
    bool accept_target(py::handle given, row_target wanted = row_target::either);
    bool accept_weights(py::handle of_classes, py::handle of_rows);
    bool accept_out(py::handle given, verb what, derivatives& out) const;
    // Raises where probabilities come with a label that is ignored.
    void check_ignored() const;

    // Checks the labels, and tells how many rows count and what they weigh. Needs no interpreter lock.
    label_summary count(int threads, bool with_class_weights = true);
    // The labels after that, (rows), -1: ignored; null where there are none.
    // `guarded`: the kernel does no harm whatever the labels become meanwhile.
    const std::int64_t* label_data(int threads, const label_summary& counted, bool guarded = false);
    [[noreturn]] void throw_bad_label(index row) const;
    // Raises at the first probability that is below 0, where rows count; `outside` finds it.
    void check_probabilities(rows_domain_kernel outside, const double* parameters, int threads) const;

    int leading() const { return z->ndim() - 1; }
    // A fresh array of one entry a row.
    array_view fresh_rows(const char* what, const py::dtype& dtype) const {
        return fresh(what, dtype, z->shape(), leading());
    }
    const void* target_data() const { return target ? target->data() : nullptr; }
    const void* class_weight_data() const { return class_weight ? class_weight->data() : nullptr; }
    const void* row_weight_data() const { return w ? w->data() : nullptr; }

private:
    std::unique_ptr<std::int64_t[]> converted_;

    label_args label_arguments(bool with_class_weights) const;
    label_summary check_labels(int threads, bool with_class_weights);
};

}  // namespace lossk
