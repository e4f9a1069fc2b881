// Softmax rows of many classes: what its passes over a row share.
//
// A row is cut into chunks (what one thread takes when rows are few) of blocks (what shares a reference maximum).
#pragma once

#include "softmax_common.hpp"

namespace lossk {
namespace {

// What reduce leaves of a chunk.
struct chunk_sums {
    double reference, sum, linear, mass;
    double logit_t;  // the label's (capped) logit, if it lies in this chunk
    double top;      // the largest logit, before capping
    index largest;   // its first index in the row
};

// What finish leaves of a row for write, and where it keeps the label's element.
struct row_state {
    double maximum, inverse, slope, factor, logit_t, grad_t, hess_t;
};

// Scratch of one row: its state, its chunks' sums, its blocks' references and, for gradients that are streamed or
// narrow, its e_k.
template <class T>
struct row_scratch {
    row_state* state;
    chunk_sums* chunk;
    double* reference;
    T* e;

    static index chunks(index classes) { return (classes + row_chunk - 1) / row_chunk; }
    static index blocks(index classes) { return (classes + row_block - 1) / row_block; }

    row_scratch(const softmax_args& a, index slot) {
        char* p = static_cast<char*>(a.scratch) + slot * a.scratch_stride;
        state = reinterpret_cast<row_state*>(p);
        chunk = reinterpret_cast<chunk_sums*>(state + 1);
        reference = reinterpret_cast<double*>(chunk + chunks(a.classes));
        const auto past = reinterpret_cast<std::uintptr_t>(reference + blocks(a.classes));
        e = reinterpret_cast<T*>((past + line_bytes - 1) / line_bytes * line_bytes);
    }
};

// A softmax problem of many classes: which elements a register holds, and where the e_k are kept between the passes.
template <class T>
struct many_classes : softmax_problem<T> {
    using V = vec<T>;
    static constexpr int L = lanes<V>;
    static constexpr int K = line_bytes / register_bytes;
    static constexpr index group = K * L;  // elements of a cache line

    // Where the gradient needs them, the e_k (with capping: the capped logits) are kept from reduce to write.
    const bool keeps = this->a.g && this->a.output != row_output::log_softmax;

    explicit many_classes(const softmax_args& args) : softmax_problem<T>{args} {}

    T* kept_row(const row_scratch<T>& s, index row) const {
        return this->a.streaming || this->narrow ? s.e : static_cast<T*>(this->a.g) + row * this->a.classes;
    }

    // Is the gradient a multiple of the e_k, but for a constant?
    bool plain() const {
        return !(this->a.h || this->capped || this->varied() || this->a.output == row_output::log_softmax);
    }

    // Rows that do not count are not even read, unless their statistics are wanted.
    bool skips(index row) const { return !this->counts(row) && !this->lse; }

    // The target's probabilities in a block of a row; null where there are none.
    const T* target_block(index row, index first, index n, T* buffer) const {
        return this->a.target ? this->read(this->a.target, row * this->a.classes + first, n, buffer) : nullptr;
    }

    // Linear weights q_k of the register at i of a block that begins at class `first`; y is the block's target.
    template <class Reach>
    V linear_weights(const T* y, index first, index i, Reach reach) const {
        if (!this->varied()) return splat<V>(this->even_share);
        const V w = this->class_weight ? reach.load(this->class_weight + first + i) : splat<V>(1);
        return this->linear_weight(w, y ? reach.load(y + i) : V{});
    }
};

}  // namespace
}  // namespace lossk
