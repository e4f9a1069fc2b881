// Binding of long softmax rows whose classes are spread over processes: the three steps apart, so that what a step
// leaves can be exchanged before the next. python/lossk/distributed checks what users pass and does the exchange.
#include "arrays.hpp"
#include "families.hpp"
#include "pieces.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

namespace lossk {
namespace softmax {

using options = std::array<double, cross_entropy_option_count>;
using sums_of_chunks = py::array_t<softmax_chunk, py::array::c_style>;

template <class T>
T* data_of(const py::object& array) {
    return array.is_none() ? nullptr : static_cast<T*>(const_cast<void*>(py::cast<py::array>(array).data()));
}

// Some classes of all rows of a call. All arrays are C-contiguous and of the types that they have in softmax_args.
class shard {
    softmax_args a_{};
    element type_;
    const softmax_entry& kernels_;
    index slots_;                     // rows that are under way at once
    std::vector<py::object> arrays_;  // that a_ points to
    std::unique_ptr<char[]> memory_;

    static char* state_of(const softmax_args& a, index slot) {
        return static_cast<char*>(a.scratch) + slot * a.scratch_stride;
    }
    static softmax_chunk* chunks_of(const softmax_args& a, index slot) {
        return reinterpret_cast<softmax_chunk*>(state_of(a, slot) + softmax_state_bytes);
    }
    // Aligned memory of undefined content.
    static char* allocate_in(std::unique_ptr<char[]>& memory, index bytes, const char* what) {
        const auto n = static_cast<std::size_t>(bytes + 64);
        memory = allocate(what, n, [&] { return std::unique_ptr<char[]>(new char[n]); });
        return memory.get() + (64 - reinterpret_cast<std::uintptr_t>(memory.get()) % 64) % 64;
    }

public:
    // Scratch of a row that is under way: its sums, none of its numbers.
    static index row_bytes(index classes) { return softmax_scratch_bytes(classes, 1, 0); }

    // Labels are those of the shard, -1 where the row does not count and past the last where it is another shard's.
    shard(const py::array& z, index row_classes, const options& asked, const py::object& labels,
          const py::object& target, const py::object& class_weight, const py::object& row_weight,
          const py::object& grad, const py::object& lse, const py::object& correct, index slots)
        : type_(*element_of(*view(z))),
          kernels_(tuned_kernels(family::long_rows).softmax[arithmetic_of(type_)]),
          slots_(slots),
          arrays_{z, labels, target, class_weight, row_weight, grad, lse, correct} {
        static_cast<cross_entropy_options&>(a_) = std::bit_cast<cross_entropy_options>(asked);
        a_.z = z.data();
        a_.rows = z.shape(0);
        a_.classes = z.shape(1);
        a_.row_classes = row_classes;
        a_.label = data_of<std::int64_t>(labels);
        a_.target = data_of<void>(target);
        a_.class_weight = data_of<void>(class_weight);
        a_.row_weight = data_of<void>(row_weight);
        a_.g = data_of<void>(grad);
        a_.lse = data_of<void>(lse);
        a_.correct = data_of<std::uint8_t>(correct);
        a_.kind = storage_of(type_);
        const bool narrow = a_.kind != storage::same;
        a_.streaming = a_.g && !narrow && should_stream(family::long_rows, *view(grad), *view(z));
        a_.recompute = true;
        a_.scratch_stride = row_bytes(a_.classes);
        a_.scratch = allocate_in(memory_, slots_ * a_.scratch_stride, "scratch of a shard");
        // Rows that do not count are not reduced: their sums are those of an empty row, or of one before, not chance.
        std::memset(a_.scratch, 0, static_cast<std::size_t>(slots_ * a_.scratch_stride));
    }

    // The sums of rows [begin, end).
    sums_of_chunks reduce(index begin, index end, int threads) {
        const index n = softmax_chunks(a_.classes), rows = end - begin;
        sums_of_chunks found(std::array{rows, n});
        const released_lock released;
        parallel_for(rows * n, threads,
                     [&](index first, index last) { kernels_.reduce(a_, {begin, slots_}, first, last); });
        for (index i = 0; i < rows; ++i)
            std::copy_n(chunks_of(a_, (begin + i) % slots_), n, found.mutable_data() + i * n);
        return found;
    }

    // Rows from `begin` on, of the chunks of whole rows, with labels and weights of all classes: their losses, weighed.
    py::array_t<double> normalise(index begin, const sums_of_chunks& chunks, const py::object& labels,
                                  const py::object& class_weight, double scale) {
        const index rows = chunks.shape(0);
        softmax_args whole = a_;
        whole.label = data_of<std::int64_t>(labels);
        whole.class_weight = data_of<void>(class_weight);
        whole.scale = scale;
        whole.row_chunks = chunks.shape(1);
        whole.scratch_stride = 0;  // one row after the other
        const index bytes = softmax_state_bytes + index{sizeof(softmax_chunk)} * whole.row_chunks;
        std::unique_ptr<char[]> memory;
        whole.scratch = allocate_in(memory, bytes, "sums of a row");
        py::array_t<double> losses(rows);
        const released_lock released;
        for (index i = 0, row = begin; i < rows; ++i, ++row) {
            std::copy_n(chunks.data() + i * whole.row_chunks, whole.row_chunks, chunks_of(whole, 0));
            losses.mutable_data()[i] = kernels_.normalise(whole, row, row + 1);
            std::copy_n(state_of(whole, 0), softmax_state_bytes, state_of(a_, row % slots_));
        }
        return losses;
    }

    // The gradients of rows [begin, end), which have been normalised.
    void write(index begin, index end, int threads) {
        const released_lock released;
        parallel_for((end - begin) * softmax_chunks(a_.classes), threads,
                     [&](index first, index last) { kernels_.write(a_, {begin, slots_}, first, last); });
    }
};

}  // namespace softmax

void bind_softmax_shard(py::module_& m) {
    using namespace softmax;
    using namespace py::literals;
    PYBIND11_NUMPY_DTYPE(softmax_chunk, reference, sum, linear, mass, logit_t, top, largest);
    m.attr("softmax_chunk") = py::dtype::of<softmax_chunk>();
    m.attr("softmax_chunk_classes") = row_chunk;
    m.def("softmax_shard_row_bytes", &shard::row_bytes);
    py::class_<shard>(m, "SoftmaxShard")
        .def(py::init<const py::array&, index, const options&, const py::object&, const py::object&, const py::object&,
                      const py::object&, const py::object&, const py::object&, const py::object&, index>(),
             py::kw_only(), "z"_a, "row_classes"_a, "options"_a, "labels"_a, "target"_a, "class_weight"_a,
             "row_weight"_a, "grad"_a, "lse"_a, "correct"_a, "slots"_a)
        .def("reduce", &shard::reduce)
        .def("normalise", &shard::normalise)
        .def("write", &shard::write);
}

}  // namespace lossk
