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

// Some classes of some rows. All arrays are C-contiguous and of the types that they have in softmax_args.
class shard {
    softmax_args a_{};
    element type_;
    const softmax_entry& kernels_;
    std::vector<py::object> arrays_;  // that a_ points to
    std::vector<char> memory_;

    index items() const { return a_.rows * softmax_chunks(a_.classes); }
    softmax_chunk* chunks_of(const softmax_args& a, index row) const {
        return reinterpret_cast<softmax_chunk*>(state_of(a, row) + softmax_state_bytes);
    }
    static char* state_of(const softmax_args& a, index row) {
        return static_cast<char*>(a.scratch) + row * a.scratch_stride;
    }
    static char* aligned(std::vector<char>& memory) {
        return memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64) % 64;
    }

public:
    // Labels are those of the shard, -1 where the row does not count and past the last where it is another shard's.
    shard(const py::array& z, index row_classes, const options& asked, const py::object& labels,
          const py::object& target, const py::object& class_weight, const py::object& row_weight,
          const py::object& grad, const py::object& lse, const py::object& correct)
        : type_(*element_of(*view(z))),
          kernels_(tuned_kernels(family::long_rows).softmax[arithmetic_of(type_)]),
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
        const int kept = int{a_.g && a_.kind != storage::same} + int{a_.g && a_.softcap > 0};
        a_.scratch_stride = softmax_scratch_bytes(a_.classes, arithmetic_dtype(type_).itemsize(), kept);
        memory_ = vector_of<char>(static_cast<std::size_t>(a_.rows * a_.scratch_stride + 64), "scratch of a shard");
        a_.scratch = aligned(memory_);
    }

    sums_of_chunks reduce(int threads) {
        const index n = softmax_chunks(a_.classes);
        sums_of_chunks found(std::array{a_.rows, n});
        {
            const released_lock released;
            parallel_for(items(), threads, [&](index first, index last) { kernels_.reduce(a_, first, last); });
            for (index row = 0; row < a_.rows; ++row)
                std::copy_n(chunks_of(a_, row), n, found.mutable_data() + row * n);
        }
        return found;
    }

    // Of the chunks of whole rows, with labels and weights of all classes: each row's loss, weighed.
    py::array_t<double> normalise(const sums_of_chunks& chunks, const py::object& labels,
                                  const py::object& class_weight, double scale) {
        softmax_args whole = a_;
        whole.label = data_of<std::int64_t>(labels);
        whole.class_weight = data_of<void>(class_weight);
        whole.scale = scale;
        whole.row_chunks = chunks.shape(1);
        whole.scratch_stride = softmax_state_bytes + index{sizeof(softmax_chunk)} * whole.row_chunks;
        std::vector<char> memory =
            vector_of<char>(static_cast<std::size_t>(a_.rows * whole.scratch_stride + 64), "sums of rows");
        whole.scratch = aligned(memory);
        py::array_t<double> losses(a_.rows);
        const released_lock released;
        for (index row = 0; row < a_.rows; ++row) {
            std::copy_n(chunks.data() + row * whole.row_chunks, whole.row_chunks, chunks_of(whole, row));
            losses.mutable_data()[row] = kernels_.normalise(whole, row, row + 1);
            std::copy_n(state_of(whole, row), softmax_state_bytes, state_of(a_, row));
        }
        return losses;
    }

    void write(int threads) {
        const released_lock released;
        parallel_for(items(), threads, [&](index first, index last) { kernels_.write(a_, first, last); });
    }
};

}  // namespace softmax

void bind_softmax_shard(py::module_& m) {
    using namespace softmax;
    using namespace py::literals;
    PYBIND11_NUMPY_DTYPE(softmax_chunk, reference, sum, linear, mass, logit_t, top, largest);
    m.attr("softmax_chunk") = py::dtype::of<softmax_chunk>();
    m.attr("softmax_chunk_classes") = row_chunk;
    py::class_<shard>(m, "SoftmaxShard")
        .def(py::init<const py::array&, index, const options&, const py::object&, const py::object&, const py::object&,
                      const py::object&, const py::object&, const py::object&, const py::object&>(),
             py::kw_only(), "z"_a, "row_classes"_a, "options"_a, "labels"_a, "target"_a, "class_weight"_a,
             "row_weight"_a, "grad"_a, "lse"_a, "correct"_a)
        .def("reduce", &shard::reduce, "threads"_a)
        .def("normalise", &shard::normalise, py::kw_only(), "chunks"_a, "labels"_a, "class_weight"_a, "scale"_a)
        .def("write", &shard::write, "threads"_a);
}

}  // namespace lossk
