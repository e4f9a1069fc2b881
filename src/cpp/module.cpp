// The extension module lossk._core: one binding a family. Not for users; python/lossk is.
#include "binding/families.hpp"

PYBIND11_MODULE(_core, m) {
    lossk::bind_runtime(m);
    lossk::bind_pointwise(m);
    lossk::bind_rows(m);
    lossk::bind_softmax(m);
    lossk::bind_activations(m);
    lossk::bind_optimizers(m);
    lossk::bind_gradients(m);
    lossk::bind_copies(m);
    lossk::bind_dlpack(m);
    lossk::bind_exchange(m);
    lossk::bind_tuning(m);
}
