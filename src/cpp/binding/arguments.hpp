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

// Calls function(bound, request), where `bound` are the items of the tuple that it was made with.
template <pybind11::object (*function)(const arguments&, pybind11::handle)>
PyObject* call_bound(PyObject* bound, PyObject* request) {
    try {
        const arguments items(&PyTuple_GET_ITEM(bound, 0));
        return asking_for_lock([&] { return function(items, request).release().ptr(); });
    } catch (...) {
        pybind11::detail::try_translate_exceptions();
        return nullptr;
    }
}

// Adds a function of `count` positional arguments to the module. It returns a function of a request, bound to them.
template <pybind11::object (*function)(const arguments&, pybind11::handle), Py_ssize_t count>
void define_bound(pybind11::module_& m, const char* name) {
    static PyMethodDef entry{};
    entry = {name, call_bound<function>, METH_O, nullptr};
    m.def(name, [](const pybind11::args& bound) {
        if (bound.size() != count)
            throw pybind11::type_error("got another number of arguments than " + std::to_string(count));
        return pybind11::reinterpret_steal<pybind11::object>(PyCFunction_New(&entry, bound.ptr()));
    });
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
