// Binding of the runtime: ISAs, threads, bandwidth twins, and the mathematics for its sweeps.
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"

#include <pybind11/stl.h>

#include "../runtime/cpu.hpp"
#include "../runtime/openmp.hpp"
#include "../runtime/quota.hpp"

#include <exception>

namespace lossk {
namespace {

constexpr index twin_chunk = 16384;

float run_twin(const py::list& reads, const py::list& writes, bool streaming, const py::object& num_threads) {
    twin_args a{};
    a.reads = static_cast<int>(reads.size());
    a.writes = static_cast<int>(writes.size());
    a.streaming = streaming;
    if (a.reads > max_reads || a.writes > max_writes) throw py::value_error("twin: at most 4 reads and 3 writes");
    index bytes = -1;
    const auto add = [&](py::handle h) {
        const std::optional<array_view> v = view(h);
        if (!v) throw py::type_error("twin: wanted C-contiguous NumPy arrays");
        if (bytes >= 0 && v->bytes() != bytes) throw py::value_error("twin: wanted arrays of one size");
        bytes = v->bytes();
        if (streaming && reinterpret_cast<std::uintptr_t>(v->data()) % 64 != 0)
            throw py::value_error("twin: streaming wants arrays aligned to 64 bytes");
        return v->mutable_data();
    };
    for (int i = 0; i < a.reads; ++i) a.read[i] = add(reads[static_cast<std::size_t>(i)]);
    for (int i = 0; i < a.writes; ++i) a.write[i] = add(writes[static_cast<std::size_t>(i)]);
    const index n = std::max(bytes, index{0}) / 4;
    const twin_kernel kernel = kernels().twin;
    const int threads = threads_of(num_threads);
    return static_cast<float>(without_gil(n, interrupts::deferred, [&] {
        return sum_of_pieces(n, twin_chunk, threads, [&](index begin, index end) { return kernel(a, begin, end); });
    }));
}

// One function of simd/math.hpp over an array, for the ULP sweeps.
void run_function(const std::string& name, const py::array& x, const py::array& out) {
    const std::optional<array_view> from = view(x), to = view(out);
    if (!from || !to || from->type() != to->type() || from->size() != to->size() || !element_of(*from) ||
        storage_of(*element_of(*from)) != storage::same)
        throw py::value_error("function: wanted two C-contiguous float32 or float64 arrays of one size");
    for (int i = 0; i < kernels().unary_count; ++i) {
        const unary_entry& entry = kernels().unary[i];
        if (name != entry.name) continue;
        const unary_kernel kernel = entry.kernel[arithmetic_of(*element_of(*from))];
        without_gil(from->size(), interrupts::deferred,
                    [&] { kernel(from->data(), to->mutable_data(), from->size()); });
        return;
    }
    throw py::value_error("function: no function '" + name + "'");
}

// What work() returns, which signals do not interrupt: Python handles them on its main thread, so where this is it, it
// waits for another one. Where there is no other to be had it does the work itself.
py::object uninterrupted(const py::function& work) {
    if (!handles_signals()) return work();
    py::object result;
    std::exception_ptr failure;
    auto all = [&] {
        const py::gil_scoped_acquire locked;
        try {
            result = work();
        } catch (...) {
            failure = std::current_exception();
        }
    };
    const auto done_elsewhere = [&] {
        const released_lock released;
        return run_elsewhere([](void* f) { (*static_cast<decltype(all)*>(f))(); }, &all);
    };
    if (!done_elsewhere()) return work();
    if (failure) std::rethrow_exception(failure);
    return result;
}

py::list functions() {
    py::list names;
    for (int i = 0; i < kernels().unary_count; ++i) names.append(kernels().unary[i].name);
    return names;
}

}  // namespace

void bind_runtime(py::module_& m) {
    m.def("available_isas", available_isas);
    m.def("isa", [] { return std::string(kernels().isa); });
    m.def("set_isa", set_isa);
    m.def("register_bytes", [] { return kernels().register_width(); });
    m.def("get_num_threads", get_num_threads);
    m.def("threads_source", threads_source);
    m.def("cpu_quota", cpu_quota, py::arg("root") = "");
    m.def("set_num_threads", [](const py::object& n) {
        // None means the default elsewhere; here there is no such thing.
        set_num_threads(threads_of(n.is_none() ? py::object(py::str("None")) : n));
    });
    m.def("set_own_threads", [](int n) { return set_own_threads(n); });
    m.def("parallel_runtime", parallel_runtime);
    m.def("uninterrupted", uninterrupted);
    m.def("compiler", [] { return std::string(LOSSK_COMPILER); });
    m.def("twin", run_twin);
    m.def("functions", functions);
    m.def("function", run_function);
    kernels();            // an unknown LOSSK_ISA shows at import,
    get_num_threads();    // and so does an unreadable LOSSK_NUM_THREADS
    engine_of_process();  // or LOSSK_THREADS_BY
}

}  // namespace lossk
