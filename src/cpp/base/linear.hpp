// A linear layer and the cross-entropy of its outputs: x (N, D), w (C, D), labels (N). Plain data, as in types.hpp.
#pragma once

#include "softmax.hpp"

namespace lossk {

// A chunk of rows is worked on at once, and a window of classes: drivers/linear/README.md draws how. Blocks are fixed,
// so sums do not depend on threads or registers.
constexpr index linear_block = 252;   // classes whose partial sums are added up apart: a multiple of any tile's rows
constexpr index linear_depth = 256;   // features, or rows, whose products are added up in registers
constexpr index linear_rows = 32;     // rows are padded to a multiple of this
constexpr int linear_most_terms = 3;  // bf16 whose sum an f32 is

// Rows of dw that are summed up: those of classes [first, end).
struct linear_segment {
    index first, end;
    void* rows;
};

// Memory for exponentials that the first pass keeps for the second: of so many blocks, one every `stride` bytes.
struct linear_kept {
    char* memory;
    index blocks, stride;
};

struct linear_args : cross_entropy_options {
    const void *x, *w;  // of `kind`
    const void* bias;   // (C); null: none
    storage kind;       // of x and w
    index rows, features, classes;
    index row_classes;          // of the whole layer, of which w may be a part
    const std::int64_t* at;     // (rows): where they are in x and dx; null: there from the start
    const std::int64_t* label;  // (rows)
    const void* class_weight;   // (C); null: 1
    const void* row_weight;     // (rows); null: 1
    double class_weight_sum;
    double scale;           // factor of every gradient
    void* each;             // (rows) losses; null: only their sum is wanted
    void* lse;              // (rows)
    std::uint8_t* correct;  // (rows): is the label the (first) largest logit?
    void* dx;               // (N, D); null: no gradient is wanted
    storage dx_kind;        // its
    bool keeps_logits;      // in the first pass; else exponentials may take their place
    linear_segment dw[2];   // where sums of dw go; empty where first == end
    storage dw_kind;        // theirs
    bool first;             // are they to be written, or added to?
    double* dbias;          // (C) sums that are added to; null: none
    double filter_eps;      // blocks of dz below it are left out of products; 0: none
    index window;           // classes whose logits are held at once, from class `begin` on
    index begin;
    linear_kept kept[2];  // of the first blocks, then of those that follow; the others' logits are computed twice
    bool sums;            // are sums of blocks wanted, or logits alone?
    char* memory;         // as linear_layout says
    char* scratch;        // of the calling thread, of linear_scratch bytes
};

// The unit that multiplies.
struct linear_unit {
    index lanes;      // rows of a panel
    index tile_rows;  // classes of a tile
    index filtered;   // classes of a block of dz that filter_eps may leave out, with linear_rows rows
    index depth;      // neighbours that are multiplied together
    index bytes;      // of a sum
    index terms;      // operands whose sum a number is
};
static constexpr index linear_up(index n, index to) { return (n + to - 1) / to * to; }
// Where what is in a chunk's memory, in bytes: panels of x in two forms, dx, logits, sums of blocks, of rows, flags.
struct linear_layout {
    index rows, classes, blocks;  // rows, padded; classes of a window, padded; its blocks
    index x_panels, x_columns, dx, z, block_sums, row_sums, flags, end;
};
constexpr int linear_block_numbers = 4, linear_row_numbers = 12;
static constexpr linear_layout linear_layout_of(const linear_unit& u, index rows, index features, index window,
                                                bool gradient) {
    linear_layout l{};
    l.rows = linear_up(rows, linear_rows);
    l.classes = linear_up(window, u.filtered);
    l.blocks = (window + linear_block - 1) / linear_block;
    index at = 0;
    const auto take = [&](index bytes) {
        const index here = at;
        at = linear_up(at + bytes, 64);
        return here;
    };
    l.x_panels = take(l.rows * linear_up(features, u.depth) / u.depth * u.bytes * u.terms);
    l.x_columns = take(gradient ? l.rows / u.depth * linear_up(features, u.lanes) * u.bytes * u.terms : 0);
    l.dx = take(gradient ? l.rows * linear_up(features, u.filtered) * u.bytes : 0);
    l.z = take(l.rows * l.classes * u.bytes * (gradient ? u.terms : 1));
    l.block_sums = take(l.blocks * linear_block_numbers * l.rows * u.bytes);
    l.row_sums = take(linear_row_numbers * l.rows * 8);
    l.flags = take(gradient ? l.blocks * (linear_block / u.filtered) * (l.rows / linear_rows) : 0);
    l.end = at;
    return l;
}
// Bytes of a kept block: the largest logit of each row, and exponentials from there on, of 16 bits.
static constexpr index linear_kept_bytes(index rows) { return linear_up(rows, linear_rows) * (4 + linear_block * 2); }
// Bytes of a thread's scratch, which holds one of these: rows of w for a tile; half a block of w; a block of dw,
// linear_depth features wide, and what keeps its rows apart in a cache.
static constexpr index linear_scratch(const linear_unit& u) { return linear_block * (linear_depth + 16) * u.bytes; }

struct linear_kernels {
    const char* unit;
    linear_unit shape;
    void (*pack)(const linear_args&, index begin, index end);       // panels of linear_rows rows
    void (*logits)(const linear_args&, index begin, index end);     // blocks of the window
    void (*merge)(const linear_args&, index begin, index end);      // groups of linear_rows rows
    double (*normalise)(const linear_args&);                        // all rows; returns the sum of their losses
    void (*dz_and_dw)(const linear_args&, index begin, index end);  // blocks of the window
    void (*dx)(const linear_args&, index begin, index end);         // tiles of features
    void (*give_dx)(const linear_args&, index begin, index end);    // groups of linear_rows rows
    bool (*is_right)();  // does it multiply as it should? Asked once; null: no doubt
};

}  // namespace lossk
