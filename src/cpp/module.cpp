// The extension module lossk._core: one binding a family. Not for users; python/lossk is.
#include "binding/families.hpp"

#include <exception>

#include "runtime/memory.hpp"

namespace {

void translate(std::exception_ptr error) {
    try {
        std::rethrow_exception(error);
    } catch (const lossk::out_of_memory& e) {
        PyErr_SetString(PyExc_MemoryError, e.what());
    } catch (const std::bad_alloc&) {
        PyErr_SetString(PyExc_MemoryError, "a call's own notes: wanted a few bytes of memory, the system has no more");
    }
}

}  // namespace

// pybind11 waits for ever for the lock of a subinterpreter, so these are refused.
static constexpr const char* refusal = "lossk: got a subinterpreter, wanted the main one (or a process of its own)";
static bool in_main_interpreter() { return PyInterpreterState_Get() == PyInterpreterState_Main(); }

PYBIND11_MODULE(_core_of_main, m) {
    if (!in_main_interpreter()) throw pybind11::import_error(refusal);
    pybind11::register_local_exception_translator(translate);
    lossk::bind_runtime(m);
    lossk::bind_pointwise(m);
    lossk::bind_rows(m);
    lossk::bind_pairs(m);
    lossk::bind_ctc(m);
    lossk::bind_softmax(m);
    lossk::bind_softmax_shard(m);
    lossk::bind_linear(m);
    lossk::bind_activations(m);
    lossk::bind_optimizers(m);
    lossk::bind_gradients(m);
    lossk::bind_copies(m);
    lossk::bind_dlpack(m);
    lossk::bind_exchange(m);
    lossk::bind_tuning(m);
}

// Before pybind11 begins. CPython 3.13 calls this as the main interpreter, whichever imports.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
    if (in_main_interpreter()) return PyInit__core_of_main();
    PyErr_SetString(PyExc_ImportError, refusal);
    return nullptr;
}
