// What every family's binding needs of arrays: their types, shapes, overlaps and outputs, checked.
#include "arrays.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <memory>

#include "../runtime/cpu.hpp"
#include "../runtime/memory.hpp"
#include "../runtime/parallel.hpp"

namespace lossk {
namespace {

using npy = py::detail::npy_api;

std::string text(py::handle h) { return std::string(py::str(h)); }

// bfloat16 is no type of NumPy's own: ml_dtypes registers it when it is imported, under a number of its own.
bool is_bfloat16(const array_view& a) {
    static std::atomic<int> number{-1};
    const int type = a.type();
    if (type == number.load(std::memory_order_relaxed)) return true;
    constexpr int first_registered = 256;
    if (type < first_registered || text(a.object().dtype().attr("name")) != "bfloat16") return false;
    number = type;
    return true;
}

struct giving_back {
    void operator()(pages* p) const {
        give_back(*p);
        delete p;
    }
};

py::array small_array(const py::dtype& dtype, const std::vector<py::ssize_t>& shape) {
    try {
        return py::array(dtype, shape);
    } catch (const py::error_already_set& e) {
        if (!e.matches(PyExc_MemoryError)) throw;
        throw std::bad_alloc();
    }
}

// The shape without axes of length 1.
std::vector<index> long_axes(const array_view& a) {
    std::vector<index> axes;
    std::copy_if(a.shape(), a.shape() + a.ndim(), std::back_inserter(axes), [](index n) { return n != 1; });
    return axes;
}

}  // namespace

bool array_view::has_shape(const index* wanted, int n) const {
    if (ndim() != n) return false;
    for (int i = 0; i < n; ++i)
        if (shape(i) != wanted[i]) return false;
    return true;
}

bool array_view::same_shape(const array_view& other) const { return has_shape(other.shape(), other.ndim()); }

std::string shape_text(const index* shape, int ndim) {
    std::string s = "(";
    for (int i = 0; i < ndim; ++i) s += std::to_string(shape[i]) + (ndim == 1 ? "," : i + 1 < ndim ? ", " : "");
    return s + ")";
}

std::string array_view::shape_text() const { return lossk::shape_text(shape(), ndim()); }

std::string array_view::type_text() const { return text(array_.dtype()); }

std::optional<array_view> view(py::handle object) {
    if (reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())) != reinterpret_cast<PyObject*>(npy::get().PyArray_Type_))
        return std::nullopt;
    py::array array = py::reinterpret_borrow<py::array>(object);
    constexpr int wanted = npy::NPY_ARRAY_C_CONTIGUOUS_ | npy::NPY_ARRAY_ALIGNED_;
    const char order = array.dtype().byteorder();
    if ((array.flags() & wanted) != wanted || order == '>') return std::nullopt;
    return array_view(std::move(array));
}

std::optional<element> element_of(const array_view& a) {
    switch (a.type()) {
        case npy::NPY_FLOAT_: return element::f32;
        case npy::NPY_DOUBLE_: return element::f64;
        case 23: return element::f16;  // NPY_HALF
        default: return is_bfloat16(a) ? std::optional(element::bf16) : std::nullopt;
    }
}

bool is_arithmetic(const array_view& weights, element e) {
    return weights.type() == (e == element::f64 ? npy::NPY_DOUBLE_ : npy::NPY_FLOAT_);
}

py::dtype arithmetic_dtype(element e) { return e == element::f64 ? py::dtype::of<double>() : py::dtype::of<float>(); }

std::optional<integer> integer_of(const array_view& a) {
    const char kind = a.object().dtype().kind();
    if (kind != 'i' && kind != 'u' && kind != 'b') return std::nullopt;
    const bool is_unsigned = kind != 'i';
    switch (a.object().itemsize()) {
        case 1: return is_unsigned ? integer::u8 : integer::i8;
        case 2: return is_unsigned ? integer::u16 : integer::i16;
        case 4: return is_unsigned ? integer::u32 : integer::i32;
        default: return is_unsigned ? integer::u64 : integer::i64;
    }
}

array_view fresh(const char* what, const py::dtype& dtype, const index* shape, int ndim) {
    const std::vector<py::ssize_t> dims(shape, shape + ndim);
    std::size_t bytes = static_cast<std::size_t>(dtype.itemsize());
    for (int i = 0; i < ndim; ++i) bytes *= static_cast<std::size_t>(shape[i]);
    if (bytes < smallest_pages) return array_view(allocate(what, bytes, [&] { return small_array(dtype, dims); }));
    auto holder = std::make_unique<pages>();
    const pages taken = *holder = allocate(what, bytes, [&] { return take_pages(bytes); });
    std::unique_ptr<pages, giving_back> own(holder.release());
    const py::capsule owner(own.get(), [](void* p) { giving_back{}(static_cast<pages*>(p)); });
    own.release();
    return array_view(py::array(dtype, dims, taken.start, owner));
}

void copy(py::handle to, py::handle from) {
    if (asking_for_lock([&] { return npy::get().PyArray_CopyInto_(to.ptr(), from.ptr()); }) != 0)
        throw py::error_already_set();
}

std::optional<array_view> output_view(py::handle out, const char* name, const array_view& like) {
    if (!py::isinstance<py::array>(out))
        throw py::type_error(std::string(name) + ": got " + text(py::type::handle_of(out).attr("__name__")) +
                             ", wanted a NumPy array to write to");
    const py::array array = py::reinterpret_borrow<py::array>(out);
    if (!array.dtype().is(like.object().dtype()) && !array.dtype().equal(like.object().dtype()))
        throw py::type_error(std::string(name) + ": got dtype " + text(array.dtype()) + ", wanted " + like.type_text());
    const array_view unprepared(array);
    if (!unprepared.same_shape(like))
        throw py::value_error(std::string(name) + ": got shape " + unprepared.shape_text() + ", wanted " +
                              like.shape_text());
    if (!array.writeable())
        throw py::value_error(std::string(name) + ": got a read-only array, wanted a writeable one");
    return view(out);
}

void check_overlap(const array_view& out, const char* out_name, const array_view& in, const char* in_name,
                   bool same_allowed) {
    const char *a = out.data(), *b = in.data();
    if (a == b && out.bytes() == in.bytes() && same_allowed) return;
    if (a < b + in.bytes() && b < a + out.bytes())
        throw py::value_error(std::string(out_name) + ": got memory that overlaps " + in_name + ", wanted " +
                              (same_allowed ? std::string(in_name) + " itself or " : std::string()) +
                              "separate memory");
}

void check_same_shape(const array_view& a, const char* name, const array_view& like, const char* like_name) {
    if (a.same_shape(like)) return;
    std::string told = std::string(name) + ": got shape " + a.shape_text() + ", wanted " + like.shape_text() +
                       ", the shape of " + like_name;
    if (long_axes(a) == long_axes(like)) told += ", as by " + std::string(name) + ".reshape" + like.shape_text();
    throw py::value_error(told);
}

void check_same_type(const array_view& a, const char* name, const array_view& like, const char* like_name) {
    if (a.type() != like.type())
        throw py::type_error(std::string(name) + ": got dtype " + a.type_text() + ", wanted " + like.type_text() +
                             ", the dtype of " + like_name);
}

reduction reduction_of(py::handle h) {
    if (PyUnicode_Check(h.ptr())) {
        if (PyUnicode_CompareWithASCIIString(h.ptr(), "mean") == 0) return reduction::mean;
        if (PyUnicode_CompareWithASCIIString(h.ptr(), "sum") == 0) return reduction::sum;
        if (PyUnicode_CompareWithASCIIString(h.ptr(), "none") == 0) return reduction::none;
    }
    throw py::value_error("reduction: got " + text(py::repr(h)) + ", wanted 'mean', 'sum' or 'none'");
}

int threads_of(py::handle h) {
    if (h.is_none()) return get_num_threads();
    const long n = PyIndex_Check(h.ptr()) && !PyBool_Check(h.ptr()) ? PyLong_AsLong(h.ptr()) : -1;
    if (PyErr_Occurred()) PyErr_Clear();
    if (n < 1 || n > max_threads)
        throw py::value_error("num_threads: got " + text(py::repr(h)) + ", wanted an integer from 1 to " +
                              std::to_string(max_threads));
    return static_cast<int>(n);
}

std::optional<double> normalizer_of(py::handle h, reduction how) {
    if (h.is_none()) return std::nullopt;
    if (how != reduction::mean)
        throw py::value_error("normalizer: got " + text(py::repr(h)) + ", wanted None unless reduction is 'mean'");
    const double value = PyBool_Check(h.ptr()) ? -1 : PyFloat_AsDouble(h.ptr());
    if (PyErr_Occurred())
        PyErr_Clear();
    else if (value > 0 && std::isfinite(value))
        return value;
    throw py::value_error("normalizer: got " + text(py::repr(h)) + ", wanted a finite number above 0");
}

verb verb_of(py::handle h) { return static_cast<verb>(PyLong_AsLong(h.ptr())); }

void read_parameters(py::handle given, int count, double* parameters) {
    if (!PyTuple_Check(given.ptr()) || PyTuple_GET_SIZE(given.ptr()) != count)
        throw py::type_error("parameters: got " + text(py::repr(given)) + ", wanted a tuple of " +
                             std::to_string(count) + " numbers");
    for (int i = 0; i < count; ++i) parameters[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(given.ptr(), i));
    if (PyErr_Occurred()) throw py::error_already_set();
}

bool should_stream(family f, const array_view& out, const array_view& in) {
    return out.data() != in.data() && out.bytes() > stream_from(f);
}

}  // namespace lossk
