// Functions that Python calls with a plain vector of arguments: no tuple is made, nothing is looked up or converted.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>

#include "interpreter_lock.hpp"

namespace lossk {

// What Python passed, by position; borrowed for the time of the call.
class arguments {
    PyObject* const* first_;

public:
    explicit arguments(PyObject* const* first) : first_(first) {}
    pybind11::handle operator[](std::size_t i) const { return first_[i]; }
};

template <pybind11::object (*function)(const arguments&), Py_ssize_t count>
PyObject* call_by_vector(PyObject*, PyObject* const* given, Py_ssize_t n) {
    try {
        if (n == count) return asking_for_lock([&] { return function(arguments(given)).release().ptr(); });
        throw pybind11::type_error("got " + std::to_string(n) + " arguments, wanted " + std::to_string(count));
    } catch (...) {
        pybind11::detail::try_translate_exceptions();
        return nullptr;
    }
}

// Adds a function of `count` positional arguments to the module.
template <pybind11::object (*function)(const arguments&), Py_ssize_t count>
void define(pybind11::module_& m, const char* name) {
    static PyMethodDef entry{};
    const auto untyped = reinterpret_cast<void (*)()>(call_by_vector<function, count>);
    entry = {name, reinterpret_cast<PyCFunction>(untyped), METH_FASTCALL, nullptr};
    m.add_object(name, pybind11::reinterpret_steal<pybind11::object>(PyCFunction_New(&entry, nullptr)));
}

}  // namespace lossk
