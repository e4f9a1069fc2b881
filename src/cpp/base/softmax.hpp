// Softmax of rows z (N, C): cross-entropy, softmax, log-softmax and log-sum-exp, and the scratch that they take. Plain
// data, as in types.hpp.
#pragma once

#include "types.hpp"

namespace lossk {

enum class row_output : int { loss, softmax, log_softmax };

// What cross-entropy may be asked for besides labels and weights, in the order in which Python gives it; 0: nothing.
struct cross_entropy_options {
    double label_smoothing, z_loss, softcap, focal_gamma, poly_epsilon;
};
constexpr int cross_entropy_option_count = sizeof(cross_entropy_options) / sizeof(double);
// Is nothing else asked for than the first two?
static inline bool only_smooths(const cross_entropy_options& given) {
    double option[cross_entropy_option_count];
    __builtin_memcpy(option, &given, sizeof option);
    for (int i = 2; i < cross_entropy_option_count; ++i)
        if (option[i] != 0) return false;
    return true;
}

// Is the loss a function of the label's probability, which targets of probabilities do not have?
static inline bool bends(const cross_entropy_options& given) {
    return given.focal_gamma != 0 || given.poly_epsilon != 0;
}

struct softmax_args : cross_entropy_options {
    const void* z;  // (N, C)
    index rows, classes;
    index row_classes;          // of the whole row, of which z may be a part
    index row_chunks;           // whose sums make a row: softmax_chunks(classes), unless z is a part
    const std::int64_t* label;  // (N); negative: the row does not count. Null: no labels
    const void* target;         // (N, C) probabilities; null: none
    const void* class_weight;   // (C); null: 1
    const void* row_weight;     // (N); null: 1
    void* each;                 // (N) losses; null: only their sum is wanted
    void* g;                    // (N, C); null: not wanted
    void* h;                    // (N, C); null: not wanted
    void* lse;                  // (N)
    std::uint8_t* correct;      // (N): is the label the (first) largest logit?
    storage kind;               // of z, target, g and h
    double scale;               // factor of every gradient and second derivative
    row_output output;
    bool streaming;
    bool recompute;        // write takes exponentials from z once more: reduce leaves nothing but sums
    bool* outside;         // set where a probability may be below 0; null: nobody asks
    void* scratch;         // of the calling thread, or one slot a row where rows are shared out by their chunks
    index scratch_stride;  // bytes of a slot
};

// What a chunk of a row comes to.
struct softmax_chunk {
    double reference, sum, linear, mass;
    double logit_t;  // the label's (capped) logit, if it lies in this chunk; else 0
    double top;      // the largest logit, before capping
    index largest;   // its first index in the row
};
static constexpr index softmax_chunks(index classes) { return (classes + row_chunk - 1) / row_chunk; }

// Elements from one array of a row's numbers in scratch to the next: whole lines, and as many as align them.
static constexpr index softmax_kept_stride(index classes) { return (classes + 63) / 32 * 32; }
// Bytes of scratch that one row needs: first its state, then its chunks, then the references of blocks and `kept` such
// arrays, which are softmax/long_rows/row.hpp's business.
constexpr index softmax_state_bytes = 72;
static constexpr index softmax_scratch_bytes(index classes, index element_bytes, int kept) {
    const index sums = softmax_state_bytes + index{sizeof(softmax_chunk)} * softmax_chunks(classes);
    const index references = 8 * ((classes + row_block - 1) / row_block);
    return (sums + references + kept * element_bytes * softmax_kept_stride(classes) + 128) / 64 * 64;
}

// A pass over whole rows writes rows while it reduces those after them, so it has two sets of slots: of rows of one
// block, rows_at_once in each; of longer rows, one. Longer rows keep their numbers in one buffer that all share: row j
// + 1 begins softmax_shift elements before row j, so that what it writes of a block lies before what is still read of
// that block in row j, and the caches hold one row, not two.
constexpr index softmax_shift = row_block + 64;
static constexpr bool softmax_shares(index classes) { return classes > row_block; }
static constexpr index softmax_slots(index classes) { return 2 * (softmax_shares(classes) ? 1 : rows_at_once); }
static constexpr index softmax_slot_bytes(index classes, index element_bytes, int kept) {
    return softmax_scratch_bytes(classes, element_bytes, softmax_shares(classes) ? 0 : kept);
}
// Elements of that buffer, for one array of numbers of each of so many rows.
static constexpr index softmax_shared_stride(index classes, index rows) {
    return softmax_kept_stride(classes) + rows * softmax_shift;
}
// Bytes of scratch for a pass over at most so many rows.
static constexpr index softmax_pass_bytes(index classes, index element_bytes, int kept, index rows) {
    const index shared = softmax_shares(classes) ? kept * element_bytes * softmax_shared_stride(classes, rows) : 0;
    return softmax_slots(classes) * softmax_slot_bytes(classes, element_bytes, kept) + shared;
}

// Rows [begin, end); returns the sum of their losses.
using softmax_kernel = double (*)(const softmax_args&, index begin, index end);
// One step of some rows from `first` on, whose scratch is slot row % slots: item = i * chunks + chunk is a chunk of the
// i-th of them.
struct softmax_rows {
    index first, slots;
};
using softmax_part = void (*)(const softmax_args&, softmax_rows, index begin_item, index end_item);

}  // namespace lossk
