// The norm of many tensors, their names in errors, and who owns which memory.
#include "tensors.hpp"

#include <cmath>

#include "../runtime/cpu.hpp"

namespace lossk {

std::string tensor_name(const char* what, const py::object& keys, std::size_t i) {
    const py::object at = keys.is_none() ? py::object(py::int_(i)) : py::object(keys[py::int_(i)]);
    return std::string(what) + "[" + std::string(py::str(py::repr(at))) + "]";
}

double norm_of(const chunk_list& chunks, const std::vector<gradient>& gradients, index elements, int threads) {
    auto squares = vector_of<double>(static_cast<std::size_t>(chunks.count()), "sums of squares");
    const kernel_table& table = kernels();
    chunks.each(elements, threads, [&](std::size_t t, index chunk, index begin, index end) {
        const gradient& g = gradients[t];
        if (!g.data) return;
        const norm_kernel kernel = table.sum_of_squares[arithmetic_of(g.type)];
        squares[static_cast<std::size_t>(chunk)] = kernel(storage_of(g.type), g.data, begin, end);
    });
    double sum = 0;
    for (const double s : squares) sum += s;
    return std::sqrt(sum);
}

double clip_factor(double norm, double max_norm) { return std::min(1.0, max_norm / (norm + 1e-6)); }

void memory_map::sort() {
    std::sort(pieces_.begin(), pieces_.end(), [](const piece& a, const piece& b) { return a.begin < b.begin; });
}

std::optional<std::size_t> memory_map::owner(const char* begin, const char* end) const {
    const auto next = std::upper_bound(pieces_.begin(), pieces_.end(), begin,
                                       [](const char* at, const piece& p) { return at < p.begin; });
    if (begin == end) return std::nullopt;
    if (next != pieces_.end() && next->begin < end) return next->tensor;
    if (next != pieces_.begin() && begin < (next - 1)->end) return (next - 1)->tensor;
    return std::nullopt;
}

std::optional<std::pair<std::size_t, std::size_t>> memory_map::collision() const {
    for (std::size_t i = 1; i < pieces_.size(); ++i)
        if (pieces_[i].begin < pieces_[i - 1].end) return std::pair{pieces_[i - 1].tensor, pieces_[i].tensor};
    return std::nullopt;
}

}  // namespace lossk
