// Binding of CTC: arrays that Python has checked and packed.
#include "arguments.hpp"
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/scratch.hpp"

namespace lossk {
namespace {

// The memory of an array of `n` elements of 8 bytes.
template <class E>
E* words(py::handle given, index n, const char* name) {
    const std::optional<array_view> array = view(given);
    if (!array || array->size() != n || array->bytes() != 8 * n)
        throw py::type_error(std::string(name) + ": wanted a C-contiguous array of one entry each, of 8 bytes");
    return reinterpret_cast<E*>(array->mutable_data());
}

// In: z (T, N, C), labels, first label of each sample and the end, lengths, factors, blank, zero_infinity, losses,
// gradient or None, threads, whether the gradient is the user's array.
py::object ctc_call(const arguments& in) {
    const std::optional<array_view> z = view(in[0]), g = in[8].is_none() ? std::nullopt : view(in[8]);
    const std::optional<element> type = z ? element_of(*z) : std::nullopt;
    if (!type || z->ndim() != 3 || (!in[8].is_none() && !(g && g->same_shape(*z) && g->type() == z->type())))
        throw py::type_error("z: wanted a C-contiguous array (T, N, C) of floats, and a gradient like it");
    ctc_args a{};
    a.z = z->data();
    a.times = z->shape(0);
    a.samples = z->shape(1);
    a.classes = z->shape(2);
    a.first = words<const std::int64_t>(in[2], a.samples + 1, "first");
    a.label = words<const std::int64_t>(in[1], a.first[a.samples], "labels");
    a.length = words<const std::int64_t>(in[3], a.samples, "lengths");
    a.factor = words<const double>(in[4], a.samples, "factors");
    a.blank = PyLong_AsLongLong(in[5].ptr());
    a.zero_infinity = in[6].ptr() == Py_True;
    a.each = words<double>(in[7], a.samples, "losses");
    a.g = g ? g->mutable_data() : nullptr;
    a.kind = storage_of(*type);
    for (index n = 0; n < a.samples; ++n) a.most_labels = std::max(a.most_labels, a.first[n + 1] - a.first[n]);

    const index work = 8 * a.times * (a.samples + a.first[a.samples]) + z->size();
    const int threads = worthwhile_threads(threads_of(in[9]), work);
    const ctc_kernel kernel = kernels().ctc[arithmetic_of(*type)];
    without_gil(work, interrupts_of(in[10].ptr() == Py_True), [&] {
        const scratch memory(static_cast<std::size_t>(ctc_scratch_bytes(a, arithmetic_bytes(*type))),
                             threads_for(a.samples, threads));
        each_piece(a.samples, 1, threads, [&](index, index begin, index end) {
            ctc_args own = a;
            own.scratch = memory.of_this_worker();
            kernel(own, begin, end);
        });
    });
    return py::none();
}

}  // namespace

void bind_ctc(py::module_& m) { define<ctc_call, 11>(m, "ctc"); }

}  // namespace lossk
