// What the runtime and the ISA objects agree on: element types, verbs, sizes of pieces, and what kernels are given.
// Softmax and linear layers have headers of their own, softmax.hpp and linear.hpp; table.hpp lists all kernels.
//
// Plain data only: this header is compiled under several -m flags, so nothing here may emit code.
// Letters, everywhere: z prediction, y target, w weight, g gradient, h second derivative, n length, N rows, C classes.
#pragma once

#include <cstdint>

namespace lossk {

using index = std::int64_t;

// What an array holds. Arithmetic is f64 for f64, else f32: kernels exist for these two, and f16 and bf16 are converted
// on their way in and out.
enum class element : int { f32, f64, f16, bf16 };
constexpr int element_count = 2;  // of arithmetic

// How an array holds the numbers of a kernel: as they are, or in 16 bits.
enum class storage : int { same, f16, bf16 };

static constexpr int arithmetic_of(element e) { return e == element::f64 ? 1 : 0; }
static constexpr storage storage_of(element e) {
    return e == element::f16 ? storage::f16 : e == element::bf16 ? storage::bf16 : storage::same;
}

enum class verb : int { value, grad, value_and_grad, grad_and_hess };
constexpr int verb_count = 4;

// static: a constexpr function that is not inlined would become a weak symbol, merged across ISA objects.
static constexpr bool wants_value(verb v) { return v == verb::value || v == verb::value_and_grad; }
static constexpr bool wants_grad(verb v) { return v != verb::value; }
static constexpr bool wants_hess(verb v) { return v == verb::grad_and_hess; }

// Work is cut into pieces of fixed size, whatever the number of threads: each piece has one partial sum, and partial
// sums are added in order, so results do not depend on how pieces were shared out.
constexpr index pointwise_chunk = 16384;  // elements of arrays that are worked on one by one
constexpr index row_block = 1024;         // elements of a row that share one reference maximum
constexpr index row_chunk = 16384;        // elements of a row that one thread takes when rows are few
constexpr index rows_at_once = 8;         // rows of one block each that are normalised together
constexpr index short_row_classes = 64;   // up to here a vector lane holds a row, not an element of a row
constexpr int max_parameters = 8;

// ---- pointwise losses: z, y -> value, gradient, second derivative, all of one shape -----------------------------

struct pointwise_args {
    const void* z;
    const void* y;
    const void* x;   // a third input, where the formula has one
    index x_period;  // its length, where it is repeated; 0: as long as z
    const void* w;   // per-sample factor of value and gradient; null: 1
    void* each;      // per-sample values; null: only their sum is wanted
    void* g;
    void* h;
    storage kind;     // of z, y, g and h
    double scale;     // factor of every gradient and second derivative
    bool streaming;   // store g and h by streaming stores; not where 16 bits go by way of a tile
    bool ignore_nan;  // samples whose target is NaN weigh 0
    bool* outside;    // set where inputs may be outside the formula's domain; null: nobody asks
    double parameters[max_parameters];
};
// Elements [begin, end), within one chunk; returns the sum of their values, or of their weights.
using pointwise_kernel = double (*)(const pointwise_args&, index begin, index end);
// The first of these elements whose inputs are outside the formula's domain; -1: none.
using domain_kernel = index (*)(const pointwise_args&, index begin, index end);
// What the error says is wanted; and, where every target is -1 or 1, how it becomes that. Null: nothing.
struct domain_text {
    const char *wanted, *of_signs;
};

// ---- rows: z (N, C) with labels (N) or targets (N, C) -> the loss of a row, its gradient ---------------------------

enum class row_target : int { labels, elements, either, none };  // what a row comes with

struct rows_args {
    const void* z;  // (N, C)
    index classes;
    const std::int64_t* label;  // (N); negative: the row does not count. Null: no labels
    const void* target;         // (N, C); null: none
    const void* class_weight;   // (C); null: 1
    const void* row_weight;     // (N); null: 1
    void* each;                 // (N) losses; null: only their sum is wanted
    void* g;                    // (N, C)
    void* h;                    // (N, C)
    storage kind;               // of z, target, g and h
    double scale;               // factor of every gradient and second derivative
    bool streaming;             // stream g and h, but what is read; not where kind is narrow
    bool* outside;              // set where targets are outside the formula's domain; null: nobody asks
    double parameters[max_parameters];
};
// Rows [begin, end); returns the sum of their losses.
using rows_kernel = double (*)(const rows_args&, index begin, index end);
// The first element of these rows whose target is outside the formula's domain; -1: none.
using rows_domain_kernel = index (*)(const rows_args&, index begin, index end);

// ---- pairs and triplets: rows x[0] (N, D), x[1] and perhaps x[2] -> the loss of a row, gradients of all of them -----

constexpr int max_inputs = 3;
struct pairs_args {
    const void* x[max_inputs];  // (N, D); of single pairs (N)
    index length;               // D; of single pairs 1
    const void* target;         // (N), in the type of the arithmetic; null: the formula takes none
    const void* w;              // (N); null: 1
    void* each;                 // (N) losses; null: only their sum is wanted
    void* g[max_inputs];        // like x; null: not wanted
    storage kind;               // of x and g
    double scale;               // factor of every gradient
    double parameters[max_parameters];
};
// Rows [begin, end); returns the sum of their losses.
using pairs_kernel = double (*)(const pairs_args&, index begin, index end);

// ---- CTC: log-probabilities z (T, N, C) and a sequence of labels each of N samples -> losses, gradient --------------

struct ctc_args {
    const void* z;  // (T, N, C)
    index times, samples, classes, blank;
    const std::int64_t* label;   // of all samples, one after another
    const std::int64_t* first;   // (N + 1): where each sample's labels begin
    const std::int64_t* length;  // (N): how many times of each sample count
    const double* factor;        // (N) of the gradient
    double* each;                // (N) losses
    void* g;                     // like z; null: not wanted
    storage kind;                // of z and g
    bool zero_infinity;          // is the loss 0 where no path is possible?
    index most_labels;           // of a sample
    void* scratch;               // of the calling thread
};
// Samples [begin, end).
using ctc_kernel = void (*)(const ctc_args&, index begin, index end);

// Elements of a row of states, with a margin before and after; and of rows that are kept: of all times, or of two.
constexpr index ctc_margin = 16;
static inline index ctc_row(const ctc_args& a) { return (a.most_labels / ctc_margin + 3) * ctc_margin; }
static inline index ctc_kept(const ctc_args& a) { return a.g ? a.times + 1 : 2; }
static inline index ctc_scratch_bytes(const ctc_args& a, index element_bytes) {
    const index classes = (a.classes / ctc_margin + 1) * ctc_margin;
    return (2 * ctc_row(a) * (ctc_kept(a) + 3) + classes) * element_bytes + 8 * (a.times + 1);
}

// ---- labels: any integer type, checked; -> int64 ----------------------------------------------------------------

enum class integer : int { i8, u8, i16, u16, i32, u32, i64, u64 };
constexpr int integer_count = 8;

struct label_args {
    const void* label;        // (N) of some integer type
    std::int64_t* converted;  // (N): the label, or -1 where it is ignore_index; null: check them
    index classes;
    bool ignores;  // are labels that are ignore_index ignored?
    std::int64_t ignore_index;
    const void* class_weight;  // (C); null: 1
    const void* row_weight;    // (N); null: 1
};
struct label_summary {
    index first_bad;  // first row whose label is neither in [0, C) nor ignored; -1: none
    index counted;    // rows that count
    double weight;    // sum of their weights
};
using label_kernel = label_summary (*)(const label_args&, index begin, index end);

// ---- activations: x -> a function of x, its derivative, cotangent times derivative, all of one shape -------------

enum class map : int { value, derivative, vjp };
constexpr int map_count = 3;

struct activation_args {
    const void* x;
    const void* c;  // cotangent; null but for vjp
    void* out;
    storage kind;    // of all three
    bool streaming;  // by streaming stores
    double parameters[max_parameters];
};
// Elements [begin, end), within one chunk.
using activation_kernel = void (*)(const activation_args&, index begin, index end);

// ---- gated activations: x and a gate -> a function of both, or the cotangent times both derivatives --------------

// Elements lie in runs: run r of x begins at element r * x_step, that of the gate at (r % gate_runs) * gate_step. What
// is computed lies as x does where it is a gradient, else run after run.
struct gated_args {
    const void *x, *gate;
    const void* c;   // cotangent, run after run; null: the value is wanted
    void* out;       // the value, or the gradient of x
    void* gate_out;  // the gradient of the gate, a run every gate_out_step elements
    index run, x_step, gate_step, gate_runs, gate_out_step;
    bool gate_repeats;  // a run has one number of the gate's
    storage kind;       // of all arrays
};
// Elements [begin, end) of all runs, counted one after another, within one chunk.
using gated_kernel = void (*)(const gated_args&, index begin, index end);

// ---- optimizers: one in-place step over flat arrays -------------------------------------------------------------

constexpr index update_tile = 512;  // elements of 16 bits that are widened at once
constexpr int max_slots = 3;
struct update_args {
    void* p;
    const void* g;
    storage kind;           // of p and g
    double scale;           // factor of the gradient
    void* slot[max_slots];  // state of the optimizer in the type of the arithmetic, one array of p's shape per slot
    float* master;          // what is updated in place of p, which becomes its rounding; null: p itself
    bool dithers;           // round p at random, by a hash of these three and the element's place
    std::uint64_t seed, tensor, step;
    double parameters[max_parameters];
};
using update_kernel = void (*)(const update_args&, index begin, index end);  // within one chunk
// The first of two passes: leaves the sums of squares of parameters and of their moves.
using update_norms_kernel = void (*)(const update_args&, index begin, index end, double* squares);
constexpr int trust_at = max_parameters - 1;  // the ratio of both norms, among the parameters of the second pass

using norm_kernel = double (*)(storage, const void* x, index begin, index end);
using scale_kernel = void (*)(storage, void* x, double by, index begin, index end);

// ---- the rest ---------------------------------------------------------------------------------------------------

// Between 16 bits and f32, elements [begin, end).
using widen_kernel = void (*)(storage, const void* from, float* to, index begin, index end);
using narrow_kernel = void (*)(storage, const float* from, void* to, index begin, index end);

using unary_kernel = void (*)(const void* x, void* out, index n);
using sum_kernel = double (*)(const void* x, index begin, index end);

// The bandwidth twin of a kernel: the same streams, no arithmetic to speak of.
constexpr int max_reads = 4, max_writes = 3;
struct twin_args {
    const void* read[max_reads];
    void* write[max_writes];
    int reads, writes;
    bool streaming;
};
using twin_kernel = float (*)(const twin_args&, index begin, index end);  // in floats

}  // namespace lossk
