// Arrays that were checked once: whether they still are what they were, by a look at their fields.
#pragma once

#include <algorithm>
#include <vector>

#include "arrays.hpp"

namespace lossk {

using array_struct = py::detail::PyArray_Proxy;

inline const array_struct& fields_of(py::handle array) { return *py::detail::array_proxy(array.ptr()); }

// Of no axes both may be null.
inline bool same_lengths(const py::ssize_t* a, const py::ssize_t* b, int n) { return std::equal(a, a + n, b); }

// An array, and what it was like when it was checked.
class watched_array {
    py::array array_;
    const char* data_;
    PyObject* descr_;
    int flags_, ndim_;
    std::vector<py::ssize_t> lengths_;  // shape, then strides

public:
    explicit watched_array(const py::array& array)
        : array_(array),
          data_(fields_of(array).data),
          descr_(fields_of(array).descr),
          flags_(fields_of(array).flags),
          ndim_(fields_of(array).nd),
          lengths_(fields_of(array).dimensions, fields_of(array).dimensions + ndim_) {
        lengths_.insert(lengths_.end(), fields_of(array).strides, fields_of(array).strides + ndim_);
    }
    bool unchanged() const {
        const array_struct& now = fields_of(array_);
        return now.data == data_ && now.descr == descr_ && now.flags == flags_ && now.nd == ndim_ &&
               same_lengths(now.dimensions, lengths_.data(), ndim_) &&
               same_lengths(now.strides, lengths_.data() + ndim_, ndim_);
    }
};

// Is this what kernels can read, exactly like `like`, which they can? The common case, in a few nanoseconds.
inline bool plainly_like(py::handle g, const array_view& like) {
    const array_struct &a = fields_of(g), &b = fields_of(like.object());
    constexpr int wanted = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    return Py_TYPE(g.ptr()) == Py_TYPE(like.object().ptr()) && a.descr == b.descr && (a.flags & wanted) == wanted &&
           a.nd == b.nd && same_lengths(a.dimensions, b.dimensions, a.nd);
}

}  // namespace lossk
