// Binding of copies between 16 bits and f32.
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"

#include "../runtime/cpu.hpp"

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
        without_gil(n, [&] {
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

}  // namespace copies

void bind_copies(py::module_& m) {
    using namespace copies;
    m.def("convert", convert);
}

}  // namespace lossk
