// NumPy arrays as kernels see them, and the checks that every family shares.
//
// Functions here take what Python passed, by position. What is not yet an array that kernels can read (a list, a
// strided view, another byte order) makes the call return NotImplemented, and _arrays.py prepares it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "../base/types.hpp"
#include "../runtime/tuning.hpp"
#include "interpreter_lock.hpp"

namespace lossk {

namespace py = pybind11;

// A C-contiguous, aligned array in native byte order. But for object() and what gives text, all of it may be asked for
// without the interpreter lock: a dtype, which counts its references, is looked at here alone.
class array_view {
    py::array array_;
    int type_;
    index item_bytes_;

    array_view(py::array array, const py::dtype& dtype)
        : array_(std::move(array)), type_(dtype.num()), item_bytes_(dtype.itemsize()) {}

public:
    explicit array_view(py::array array) : array_view(array, array.dtype()) {}

    const py::array& object() const { return array_; }
    const char* data() const { return static_cast<const char*>(array_.data()); }
    // Of an output that was checked.
    char* mutable_data() const { return const_cast<char*>(data()); }
    index size() const { return array_.size(); }
    index bytes() const { return array_.size() * item_bytes_; }
    int ndim() const { return static_cast<int>(array_.ndim()); }
    index shape(int axis) const { return array_.shape(axis); }
    const index* shape() const { return reinterpret_cast<const index*>(array_.shape()); }
    int type() const { return type_; }
    bool same_shape(const array_view& other) const;
    bool has_shape(const index* shape, int ndim) const;
    std::string shape_text() const;
    std::string type_text() const;
};

std::string shape_text(const index* shape, int ndim);

// Nothing where the object must be prepared first.
std::optional<array_view> view(py::handle object);
// What a call returns then.
inline py::object not_implemented() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

std::optional<element> element_of(const array_view& a);
// Do weights have the type that arithmetic on `e` has?
bool is_arithmetic(const array_view& weights, element e);
py::dtype arithmetic_dtype(element e);
inline index arithmetic_bytes(element e) { return e == element::f64 ? 8 : 4; }  // needs no interpreter lock
std::optional<integer> integer_of(const array_view& a);

// A fresh C-contiguous array of undefined content; `what` it is for is said where there is no memory.
array_view fresh(const char* what, const py::dtype& dtype, const index* shape, int ndim);

// Between arrays of one shape, of any strides and byte orders.
void copy(py::handle to, py::handle from);

// Is `out` an array that results of `like`'s shape and dtype can be written to? Raises where it never can be, returns
// nothing where it must be prepared first.
std::optional<array_view> output_view(py::handle out, const char* name, const array_view& like);

// Raises unless the two are disjoint or, where that is allowed, exactly the same memory.
void check_overlap(const array_view& out, const char* out_name, const array_view& in, const char* in_name,
                   bool same_allowed);
void check_same_shape(const array_view& a, const char* name, const array_view& like, const char* like_name);
void check_same_type(const array_view& a, const char* name, const array_view& like, const char* like_name);

enum class reduction : int { mean, sum, none };
reduction reduction_of(py::handle text);

// None: the default of the calling thread.
int threads_of(py::handle number);

// None: nothing. Else a number > 0.
std::optional<double> normalizer_of(py::handle number, reduction how);

verb verb_of(py::handle number);

// The parameters of a formula, from a tuple of as many.
void read_parameters(py::handle given, int count, double* parameters);

// Where each kernel of a family is in its table, by name.
template <class Entry>
py::dict places_of(const Entry* entries, int count) {
    py::dict places;
    for (int i = 0; i < count; ++i) places[entries[i].name] = i;
    return places;
}

// Are results of a family streamed? Not where they are in place.
bool should_stream(family f, const array_view& out, const array_view& in);

}  // namespace lossk
