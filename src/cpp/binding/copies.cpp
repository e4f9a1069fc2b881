// Binding of memory for results, and of copies: between 16 bits and f32, and of rows from anywhere.
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"

#include "../runtime/cpu.hpp"

#include <atomic>
#include <cstring>

namespace lossk {
namespace copies {

// Arrays of one length, checked by those who call: x is read, out written.
struct call {
    std::optional<array_view> out, x;
    element out_type, x_type;
    int threads;

    call(py::handle out_array, py::handle x_array, py::handle num_threads)
        : out(view(out_array)), x(view(x_array)), threads(threads_of(num_threads)) {
        const std::optional<element> to = out ? element_of(*out) : std::nullopt;
        const std::optional<element> from = x ? element_of(*x) : std::nullopt;
        if (!to || !from || out->size() != x->size() || !out->object().writeable())
            throw py::type_error("copies: wanted two C-contiguous arrays of floats, of one size");
        out_type = *to;
        x_type = *from;
    }

    template <class F>
    void each(F&& work) const {
        const index n = x->size();
        without_gil(n, interrupts::deferred, [&] {
            each_piece(n, pointwise_chunk, worthwhile_threads(threads, n),
                       [&](index, index begin, index end) { work(out->mutable_data(), x->data(), begin, end); });
        });
    }
};

// out = x, of which one has 16 bits and the other is f32.
void convert(py::handle out, py::handle x, py::handle num_threads) {
    const call c(out, x, num_threads);
    const storage to = storage_of(c.out_type), from = storage_of(c.x_type);
    if (c.out_type == element::f32 && from != storage::same)
        c.each([&](void* p, const void* q, index begin, index end) {
            kernels().widen(from, q, static_cast<float*>(p), begin, end);
        });
    else if (c.x_type == element::f32 && to != storage::same)
        c.each([&](void* p, const void* q, index begin, index end) {
            kernels().narrow(to, static_cast<const float*>(q), p, begin, end);
        });
    else
        throw py::type_error("convert: wanted one array of 16 bits and one of float32");
}

// out[i] = x[order[i]] for rows of any type. They lie anywhere, so those to come are asked for some lines ahead.
void take_rows(py::array& out, const py::array& x, const py::array_t<std::int64_t, py::array::c_style>& order,
               py::handle num_threads) {
    constexpr index line = 64, ahead = 2048;  // bytes: what a core copies while memory answers, about
    const auto plain = [](const py::array& a) { return a.ndim() == 2 && (a.flags() & py::array::c_style) != 0; };
    if (!plain(out) || !plain(x) || !out.writeable() || !out.dtype().equal(x.dtype()) || out.shape(1) != x.shape(1) ||
        order.ndim() != 1 || out.shape(0) != order.shape(0))
        throw py::type_error("take_rows: wanted C-contiguous rows of one dtype and length, as many as the order has");
    const index n = order.shape(0), rows = x.shape(0), bytes = x.shape(1) * x.itemsize();
    const index before = bytes > 0 ? ahead / bytes + 1 : 1;
    const char* const from = static_cast<const char*>(x.data());
    char* const to = static_cast<char*>(out.mutable_data());
    const std::int64_t* const at = order.data();
    const int threads = worthwhile_threads(threads_of(num_threads), n * bytes / 4);
    std::atomic<bool> outside{false};
    without_gil(n * bytes, interrupts::deferred, [&] {
        parallel_for(n, threads, [&](index begin, index end) {
            for (index i = begin; i < end; ++i) {
                if (at[i] < 0 || at[i] >= rows) return outside.store(true);
                if (const index next = i + before; next < end && at[next] >= 0 && at[next] < rows)
                    for (index k = 0; k < bytes; k += line) __builtin_prefetch(from + at[next] * bytes + k);
                std::memcpy(to + i * bytes, from + at[i] * bytes, static_cast<std::size_t>(bytes));
            }
        });
    });
    if (outside) throw py::index_error("order: got a number outside the rows of x");
}

}  // namespace copies

void bind_copies(py::module_& m) {
    using namespace copies;
    m.def("empty", [](const std::string& what, const std::vector<index>& shape, const py::dtype& dtype) {
        return fresh(what.c_str(), dtype, shape.data(), static_cast<int>(shape.size())).object();
    });
    m.def("convert", convert);
    m.def("take_rows", take_rows);
}

}  // namespace lossk
