// What module.cpp puts together: each family adds its functions.
#pragma once

#include <pybind11/pybind11.h>

namespace lossk {

void bind_activations(pybind11::module_& m);
void bind_copies(pybind11::module_& m);
void bind_ctc(pybind11::module_& m);
void bind_linear(pybind11::module_& m);
void bind_exchange(pybind11::module_& m);
void bind_runtime(pybind11::module_& m);
void bind_pointwise(pybind11::module_& m);
void bind_pairs(pybind11::module_& m);
void bind_rows(pybind11::module_& m);
void bind_softmax(pybind11::module_& m);
void bind_softmax_shard(pybind11::module_& m);
void bind_optimizers(pybind11::module_& m);
void bind_gradients(pybind11::module_& m);
void bind_dlpack(pybind11::module_& m);
void bind_tuning(pybind11::module_& m);

}  // namespace lossk
