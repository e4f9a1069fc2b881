// Binding of the optimizers. Knows no optimizer: a kernel is an index into the table and its parameters.
#include "families.hpp"
#include "update_plan.hpp"

#include <pybind11/stl.h>

namespace lossk {
namespace optimizers {

// What a Python function returns that has its turn. Not a context manager: Ctrl-C could come between taking and
// leaving.
py::object run_alone(turn& t, const char* who, const py::function& work, const py::args& given) {
    const taken_turn own(t, who);
    return asking_for_lock([&]() -> py::object { return work(*given); });
}

// Gradients are arrays. None also where a parameter is not as it was.
py::object step(const arguments& in) {
    auto& plan = in[plan_at].cast<update_plan&>();
    if (!plan.holds()) return py::none();
    const taken_turn own(plan.own_turn(), "step");
    return plan.step(in, given::arrays);
}

// The same for gradients that were prepared, in the turn of whoever prepared them.
py::object step_prepared(const arguments& in) { return in[plan_at].cast<update_plan&>().step(in, given::prepared); }

// Gradients are given by their addresses, and steps are counted in an array as well.
py::object step_at(const arguments& in) {
    auto& plan = in[plan_at].cast<update_plan&>();
    const taken_turn own(plan.own_turn(), "step");
    return plan.step(in, given::addresses);
}

py::dict optimizer_kernels() {
    py::dict names;
    for (int i = 0; i < kernels().update_count; ++i)
        names[kernels().update[i].name] = py::make_tuple(i, kernels().update[i].slots);
    return names;
}

}  // namespace optimizers

void bind_optimizers(py::module_& m) {
    using namespace optimizers;
    m.attr("optimizer_kernels") = optimizer_kernels();
    py::class_<turn, std::shared_ptr<turn>>(m, "Turn").def(py::init<>()).def("run", run_alone);
    py::class_<update_plan>(m, "UpdatePlan")
        .def(py::init<int, py::list, py::list, py::list, py::list, std::optional<std::uint64_t>, py::object,
                      std::shared_ptr<turn>>())
        .def("holds", &update_plan::holds);
    define<step, argument_count>(m, "step");
    define<step_prepared, argument_count>(m, "step_prepared");
    define<step_at, argument_count + 1>(m, "step_at");
}

}  // namespace lossk
