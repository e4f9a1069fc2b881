// Many tensors as one row of fixed chunks, their norm, and the memory they take.
#pragma once

#include <optional>
#include <string>

#include "arrays.hpp"
#include "pieces.hpp"

namespace lossk {

// What users call a tensor: "grads[3]", or "grads['w']" where the tensors came as a dict with these keys.
std::string tensor_name(const char* what, const py::object& keys, std::size_t i);

class chunk_list {
    std::vector<index> size_, first_{0};  // the first chunk of each tensor, and one past the last

public:
    void add(index size) {
        size_.push_back(size);
        first_.push_back(first_.back() + pieces_of(size, pointwise_chunk));
    }
    index count() const { return first_.back(); }
    // The first chunk of a tensor; of the tensor after the last: their number.
    index first(std::size_t tensor) const { return first_[tensor]; }

    // Calls work(tensor, chunk, begin, end) for every chunk, in one parallel region; `elements` is how many are work.
    template <class F>
    void each(index elements, int threads, F&& work) const {
        parallel_for(count(), worthwhile_threads(threads, elements), [&](index begin, index end) {
            auto t = static_cast<std::size_t>(std::upper_bound(first_.begin(), first_.end(), begin) - first_.begin());
            for (index c = begin; c < end; ++c) {
                while (first_[t] <= c) ++t;  // t - 1 is the tensor
                const index from = (c - first_[t - 1]) * pointwise_chunk;
                work(t - 1, c, from, std::min(from + pointwise_chunk, size_[t - 1]));
            }
        });
    }
};

// The data of a gradient; null: there is none.
struct gradient {
    const void* data;
    element type;
};

// The norm of all gradients as one vector. Each chunk leaves one sum in f64, and they are added in order.
double norm_of(const chunk_list& chunks, const std::vector<gradient>& gradients, index elements, int threads);

// What gradients of this norm are multiplied with so that it is at most max_norm.
double clip_factor(double norm, double max_norm);

// Memory of tensors: pieces that do not overlap.
class memory_map {
    struct piece {
        const char *begin, *end;
        std::size_t tensor;
    };
    std::vector<piece> pieces_;

public:
    void add(const array_view& a, std::size_t tensor) {
        if (a.bytes() > 0) pieces_.push_back({a.data(), a.data() + a.bytes(), tensor});
    }
    void sort();
    // The tensor that this memory belongs to, in part at least.
    std::optional<std::size_t> owner(const char* begin, const char* end) const;
    // Two tensors that overlap.
    std::optional<std::pair<std::size_t, std::size_t>> collision() const;
};

}  // namespace lossk
