// Work in pieces of fixed length, shared out to threads; what pieces return does not depend on how.
#pragma once

#include <algorithm>
#include <vector>

#include "../runtime/memory.hpp"
#include "../runtime/parallel.hpp"

namespace lossk {

constexpr index pieces_of(index n, index length) { return (n + length - 1) / length; }

// Calls work(i, begin, end) for every piece of [0, n): its number, its first and one past its last.
template <class F>
void each_piece(index n, index length, int threads, F&& work) {
    parallel_for(pieces_of(n, length), threads, [&](index first, index last) {
        for (index i = first; i < last; ++i) work(i, i * length, std::min((i + 1) * length, n));
    });
}

// What part(begin, end) returns for every piece, in the order of the pieces.
template <class F>
auto results_of_pieces(index n, index length, int threads, F&& part) {
    auto results = vector_of<decltype(part(n, n))>(static_cast<std::size_t>(pieces_of(n, length)), "sums of a call");
    each_piece(n, length, threads,
               [&](index i, index begin, index end) { results[static_cast<std::size_t>(i)] = part(begin, end); });
    return results;
}

// The sum over all pieces, added in their order whichever thread ran which.
template <class F>
double sum_of_pieces(index n, index length, int threads, F&& part) {
    if (n <= length) return n > 0 ? part(index{0}, n) : 0.0;
    double total = 0;
    for (const double x : results_of_pieces(n, length, threads, part)) total += x;
    return total;
}

}  // namespace lossk
