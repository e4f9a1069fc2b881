// Tensors of a library that has DLPack's table of C functions (PyTorch) as arrays over the same memory; a number as a
// tensor.
//
// The library's own ways go through its dispatcher and take longer than a kernel does for a thousand elements.
#include "arguments.hpp"
#include "dlpack.hpp"
#include "families.hpp"
#include "request.hpp"

#include <algorithm>
#include <array>
#include <memory>

namespace lossk {
namespace {

using npy = py::detail::npy_api;

constexpr int most_axes = 16;

// Set once, by `exchange_with`: the library's functions, its bfloat16 in NumPy (or None), its classes of tensors
// without surprises, and the names of a method and an attribute.
const dl_exchange* library;
PyObject *bfloat16, *plain[2], *is_neg, *requires_grad;

void exchange_with(const py::capsule& capsule, const py::object& bfloat16_dtype, const py::object& tensor,
                   const py::object& parameter) {
    const auto given = static_cast<const dl_exchange*>(PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
    if (!given) throw py::error_already_set();
    if (given->version.major != 1 || !given->look_at)
        throw std::runtime_error("got DLPack " + std::to_string(given->version.major) + ", wanted 1");
    library = given;
    bfloat16 = bfloat16_dtype.inc_ref().ptr();
    plain[0] = tensor.inc_ref().ptr();
    plain[1] = parameter.inc_ref().ptr();
    is_neg = PyUnicode_InternFromString("is_neg");
    requires_grad = PyUnicode_InternFromString("requires_grad");
}

// ---- types ----------------------------------------------------------------------------------------------------------

struct known_type {
    std::uint8_t code, bits;
    int number;  // NumPy's
};
constexpr std::array<known_type, 11> known{{{dl_float, 32, npy::NPY_FLOAT_},
                                            {dl_float, 64, npy::NPY_DOUBLE_},
                                            {dl_float, 16, 23},  // NPY_HALF
                                            {dl_int, 64, npy::NPY_INT64_},
                                            {dl_int, 32, npy::NPY_INT32_},
                                            {dl_int, 16, npy::NPY_SHORT_},
                                            {dl_int, 8, npy::NPY_BYTE_},
                                            {dl_uint, 64, npy::NPY_UINT64_},
                                            {dl_uint, 32, npy::NPY_UINT32_},
                                            {dl_uint, 16, npy::NPY_USHORT_},
                                            {dl_uint, 8, npy::NPY_UBYTE_}}};

// A new reference; null: no type that kernels read.
PyObject* dtype_of(dl_type type) {
    if (type.lanes != 1) return nullptr;
    if (type.code == dl_bfloat && type.bits == 16 && bfloat16 != Py_None) return Py_NewRef(bfloat16);
    for (const known_type& k : known)
        if (k.code == type.code && k.bits == type.bits) return npy::get().PyArray_DescrFromType_(k.number);
    return nullptr;
}

// ---- from tensors ---------------------------------------------------------------------------------------------------

// A new reference to what Python answered.
bool answers_true(PyObject* answer) {
    const auto own = py::reinterpret_steal<py::object>(answer);
    if (!own) throw py::error_already_set();
    return answer == Py_True;
}

// A tensor may stand for its memory's values with the other sign, which DLPack does not say.
bool is_negated(py::handle tensor) { return answers_true(PyObject_CallMethodNoArgs(tensor.ptr(), is_neg)); }
bool needs_gradient(py::handle tensor) { return answers_true(PyObject_GetAttr(tensor.ptr(), requires_grad)); }

dl_tensor look_at(py::handle tensor) {
    dl_tensor t;
    if (library->look_at(tensor.ptr(), &t) != 0) throw py::error_already_set();
    if (t.device.type != dl_cpu || t.ndim > most_axes)
        throw std::runtime_error("got a tensor that is not on the CPU, or of too many axes");
    return t;
}

// Same memory and strides; the array keeps the tensor alive.
py::object array_over(py::handle tensor, const dl_tensor& t) {
    PyObject* const dtype = dtype_of(t.type);
    if (!dtype) throw std::runtime_error("got a tensor of a type that kernels do not read");
    Py_intptr_t shape[most_axes], strides[most_axes];
    for (int i = 0; i < t.ndim; ++i) {
        shape[i] = t.shape[i];
        strides[i] = t.strides[i] * (t.type.bits / 8);
    }
    const auto& api = npy::get();
    const auto array = py::reinterpret_steal<py::object>(
        api.PyArray_NewFromDescr_(api.PyArray_Type_, dtype, t.ndim, shape, strides,
                                  static_cast<char*>(t.data) + t.byte_offset, npy::NPY_ARRAY_WRITEABLE_, nullptr));
    if (!array || api.PyArray_SetBaseObject_(array.ptr(), tensor.inc_ref().ptr()) != 0) throw py::error_already_set();
    return array;
}

py::object array_of(py::handle tensor) {
    if (tensor.is_none()) return py::none();
    if (is_negated(tensor)) return array_of(tensor.attr("resolve_neg")());
    return array_over(tensor, look_at(tensor));
}

py::tuple arrays_of(const py::args& tensors) {
    py::tuple arrays(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i) arrays[i] = array_of(tensors[i]);
    return arrays;
}

// ---- to tensors -----------------------------------------------------------------------------------------------------

// A tensor of one number, and the number.
struct number_memory {
    dl_versioned base;
    double number;
};

py::object number_tensor(double number, bool narrow) {
    auto own = std::make_unique<number_memory>();
    own->number = number;
    void* const data = &own->number;
    if (narrow) *static_cast<float*>(data) = static_cast<float>(number);
    const dl_type type{dl_float, narrow ? std::uint8_t{32} : std::uint8_t{64}, 1};
    const auto give_back = [](dl_versioned* t) { delete static_cast<number_memory*>(t->context); };
    own->base = {{1, 0}, own.get(), give_back, 0, {data, {dl_cpu, 0}, 0, type, nullptr, nullptr, 0}};
    void* object = nullptr;
    if (library->object_of(&own.release()->base, &object) != 0) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
}

// ---- the common case ------------------------------------------------------------------------------------------------

bool is_plain(py::handle tensor) {
    const auto type = reinterpret_cast<PyObject*>(Py_TYPE(tensor.ptr()));
    return type == plain[0] || type == plain[1];
}

bool is_contiguous(const dl_tensor& t) {
    std::int64_t step = 1;
    for (int i = t.ndim; i-- > 0; step *= t.shape[i])
        if (t.shape[i] != 1 && t.strides[i] != step) return false;
    return step > 0;
}

bool is_wide_float(dl_type t) { return t.code == dl_float && t.bits >= 32; }

bool same(const dl_tensor& a, const dl_tensor& b) {
    return a.type.bits == b.type.bits && a.type.code == b.type.code && a.ndim == b.ndim &&
           std::equal(a.shape, a.shape + a.ndim, b.shape);
}

bool labels_of(const dl_tensor& t, const dl_tensor& z) {
    return t.type.code == dl_int && t.type.bits == 64 && z.ndim == 2 && t.ndim == 1 && t.shape[0] == z.shape[0];
}

// The number that a plain tensor of float32 or float64 without axes holds; None of any other.
py::object number_of(const arguments& in) {
    dl_tensor t;
    if (!is_plain(in[0])) return py::none();
    if (library->look_at(in[0].ptr(), &t) != 0) {
        PyErr_Clear();
        return py::none();
    }
    if (t.device.type != dl_cpu || t.ndim != 0 || !is_wide_float(t.type) || is_negated(in[0])) return py::none();
    const void* const data = static_cast<const char*>(t.data) + t.byte_offset;
    return py::float_(t.type.bits == 32 ? static_cast<double>(*static_cast<const float*>(data))
                                        : *static_cast<const double*>(data));
}

// Value and gradient from a kernel's one pass over two plain, contiguous tensors of which the first alone needs a
// gradient: predictions of float32 or float64, and targets of their type and shape or, for losses of rows (N, C), N
// labels of int64. The value is a tensor, the gradient an array. None where anything is otherwise, and somebody must
// look closer.
// In: kernel, a request for it with all but the arrays, predictions, targets; are these labels?
py::object loss_of_pair(const arguments& in) {
    const py::handle z = in[2], y = in[3];
    if (!is_plain(z) || !is_plain(y)) return py::none();
    dl_tensor a, b;
    if (library->look_at(z.ptr(), &a) != 0 || library->look_at(y.ptr(), &b) != 0) {
        PyErr_Clear();
        return py::none();
    }
    const bool fits = a.device.type == dl_cpu && b.device.type == dl_cpu && is_wide_float(a.type) &&
                      (in[4].ptr() == Py_True ? labels_of(b, a) : same(a, b)) && is_contiguous(a) && is_contiguous(b) &&
                      a.ndim <= most_axes;
    if (!fits || !needs_gradient(z) || needs_gradient(y) || is_negated(z) || is_negated(y)) return py::none();
    const py::object request = request_for(in[1], array_over(z, a), array_over(y, b));
    const auto found = py::reinterpret_steal<py::object>(PyObject_CallOneArg(in[0].ptr(), request.ptr()));
    if (!found) throw py::error_already_set();
    if (!PyTuple_Check(found.ptr())) return py::none();
    const double value = PyFloat_AsDouble(PyTuple_GET_ITEM(found.ptr(), 0));
    return py::make_tuple(number_tensor(value, a.type.bits == 32), py::handle(PyTuple_GET_ITEM(found.ptr(), 1)));
}

}  // namespace

void bind_exchange(py::module_& m) {
    m.def("exchange_with", exchange_with);
    m.def("array_of", array_of);
    m.def("arrays_of", arrays_of);
    m.def("number_tensor", number_tensor);
    define<number_of, 1>(m, "number_of");
    define<loss_of_pair, 5>(m, "loss_of_pair");
}

}  // namespace lossk
