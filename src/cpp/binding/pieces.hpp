// Sums of pieces of work that were shared out.
#pragma once

#include <vector>

#include "../runtime/parallel.hpp"

namespace lossk {

// part(0) + part(1) + ..., added in this order whichever thread ran which.
template <class F>
double sum_of_pieces(index pieces, int threads, F&& part) {
    if (pieces == 1) return part(0);
    std::vector<double> partial(static_cast<std::size_t>(pieces));
    parallel_for(pieces, threads, [&](index first, index last) {
        for (index i = first; i < last; ++i) partial[static_cast<std::size_t>(i)] = part(i);
    });
    double total = 0;
    for (double x : partial) total += x;
    return total;
}

}  // namespace lossk
