// Binding of a machine's profile: reading it once, and its choices for Python.
#include "tuning.hpp"

#include "../runtime/caches.hpp"
#include "../runtime/cpu.hpp"
#include "../runtime/parallel.hpp"
#include "arrays.hpp"
#include "families.hpp"

namespace lossk {
namespace {

family family_named(const std::string& name) {
    for (int f = 0; f < family_count; ++f)
        if (name == family_names[f]) return static_cast<family>(f);
    throw py::value_error("family: got '" + name + "', which is none");
}

py::dict choices() {
    py::dict all;
    for (int f = 0; f < family_count; ++f) {
        const family one = static_cast<family>(f);
        all[family_names[f]] = py::make_tuple(stream_from(one), kernels_of(one).isa);
    }
    return all;
}

}  // namespace

const kernel_table& tuned_kernels(family f) {
    static bool asked = false;
    if (!asked) {
        asked = true;  // before the import, which lets other threads run
        py::module_::import("lossk._profile").attr("load")();
    }
    return kernels_of(f);
}

void bind_tuning(py::module_& m) {
    m.def("choices", choices);
    m.def("choose", [](const std::string& name, index bytes, const std::string& isa) {
        const family f = family_named(name);
        choose_table(f, isa);
        choose_stream_from(f, bytes);
    });
    m.def("choose_elements_per_thread", choose_elements_per_thread);
    m.def("elements_per_thread", elements_per_thread);
    m.def("preset", preset_name);
    m.def("usable_cpus", usable_cpus);
    m.def("cpu_kind", [] { return py::make_tuple(this_cpu().vendor, this_cpu().family, this_cpu().model); });
    m.def("last_level_cache", last_level_cache);
    m.def("last_level_cache_source", [] { return last_level_cache_estimate().source; });
    m.def("bounded_cache", [](index reported, int cpus) {
        const cache_estimate e = bounded_cache(reported, cpus);
        return py::make_tuple(e.bytes, e.source);
    });
    m.def("pretend_last_level_cache", pretend_last_level_cache);
}

}  // namespace lossk
