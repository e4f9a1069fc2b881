// Outputs that users pass, checked against the inputs; fresh ones where they pass none.
#include "outputs.hpp"

namespace lossk {
namespace {

void check_apart(const array_view& out, const char* name, std::initializer_list<named_input> inputs) {
    for (const named_input& in : inputs)
        if (in.array) check_overlap(out, name, *in.array, in.name, in.may_be_output);
}

}  // namespace

bool derivatives::accept(py::handle out, verb what, const array_view& like, std::initializer_list<named_input> inputs) {
    if (out.is_none() || !wants_grad(what)) return true;
    if (!wants_hess(what)) {
        g = output_view(out, "out", like);
        if (g) check_apart(*g, "out", inputs);
        return g.has_value();
    }
    const bool several = PyTuple_Check(out.ptr());
    if (!several || PyTuple_GET_SIZE(out.ptr()) != 2)
        throw py::type_error("out: got " +
                             (several ? "a tuple of " + std::to_string(PyTuple_GET_SIZE(out.ptr()))
                                      : std::string(py::str(py::type::handle_of(out).attr("__name__")))) +
                             ", wanted a tuple of two arrays, one for each derivative");
    g = output_view(PyTuple_GET_ITEM(out.ptr(), 0), "out[0]", like);
    h = output_view(PyTuple_GET_ITEM(out.ptr(), 1), "out[1]", like);
    if (!g || !h) return false;
    check_apart(*g, "out[0]", inputs);
    check_apart(*h, "out[1]", inputs);
    check_overlap(*h, "out[1]", *g, "out[0]", false);
    return true;
}

void derivatives::allocate(verb what, const array_view& like) {
    if (wants_grad(what) && !g) g = fresh("gradient", like.object().dtype(), like.shape(), like.ndim());
    if (wants_hess(what) && !h) h = fresh("second derivative", like.object().dtype(), like.shape(), like.ndim());
}

py::object derivatives::result(verb what, const py::object& value) const {
    switch (what) {
        case verb::value: return value;
        case verb::grad: return g->object();
        case verb::value_and_grad: return py::make_tuple(value, g->object());
        default: return py::make_tuple(g->object(), h->object());
    }
}

}  // namespace lossk
