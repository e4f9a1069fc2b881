// Requests, read by position and checked.
#include "request.hpp"

namespace lossk {
namespace {

// The order of Request's fields. Those at the end may be left out.
enum field : Py_ssize_t {
    verb_at,
    z_at,
    target_at,
    third_at,
    sample_weight_at,
    reduction_at,
    normalizer_at,
    threads_at,
    out_at,
    check_at,
    ignore_nan_at,
    stats_at,
    axis_at,
    field_count,
};

bool is_true(py::handle flag) {
    const int truth = PyObject_IsTrue(flag.ptr());
    if (truth < 0) throw py::error_already_set();
    return truth == 1;
}

bool is_last(py::handle axis) {
    if (!PyLong_CheckExact(axis.ptr())) return false;
    int overflow = 0;
    return PyLong_AsLongAndOverflow(axis.ptr(), &overflow) == -1 && overflow == 0;
}

}  // namespace

request::request(py::handle given) {
    const Py_ssize_t size = PyTuple_Check(given.ptr()) ? PyTuple_GET_SIZE(given.ptr()) : 0;
    if (size < out_at || size > field_count) throw py::type_error("got something else, wanted a request");
    const auto item = [&](field at) { return py::handle(PyTuple_GET_ITEM(given.ptr(), at)); };
    what = verb_of(item(verb_at));
    how = reduction_of(item(reduction_at));
    normalizer = normalizer_of(item(normalizer_at), how);
    threads = threads_of(item(threads_at));
    z = item(z_at);
    target = item(target_at);
    third = item(third_at);
    sample_weight = item(sample_weight_at);
    out = size > out_at ? item(out_at) : py::handle(Py_None);
    check = size <= check_at || is_true(item(check_at));
    ignore_nan = size > ignore_nan_at && is_true(item(ignore_nan_at));
    stats = size > stats_at && is_true(item(stats_at));
    classes_last = size <= axis_at || is_last(item(axis_at));
}

py::object request_for(py::handle like, py::handle z, py::handle target) {
    const Py_ssize_t size = PyTuple_GET_SIZE(like.ptr());
    auto made = py::reinterpret_steal<py::object>(PyTuple_New(size));
    if (!made) throw py::error_already_set();
    for (Py_ssize_t i = 0; i < size; ++i) {
        const py::handle item = i == z_at ? z : i == target_at ? target : py::handle(PyTuple_GET_ITEM(like.ptr(), i));
        PyTuple_SET_ITEM(made.ptr(), i, item.inc_ref().ptr());
    }
    return made;
}

std::optional<array_view> constant_for(py::handle pair, element e) {
    if (pair.is_none()) return std::nullopt;
    PyObject* const own = PyTuple_GetItem(pair.ptr(), arithmetic_of(e));
    if (!own) throw py::error_already_set();
    return view(own);
}

}  // namespace lossk
