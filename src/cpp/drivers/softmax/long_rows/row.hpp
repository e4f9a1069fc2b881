// Long softmax rows: what its passes over a row share.
//
// A row is cut into chunks (what one thread takes when rows are few) of blocks (what shares a reference maximum).
#pragma once

#include "../problem.hpp"

namespace lossk {
namespace {

// What normalise leaves of a row for write, and where it keeps the label's element.
struct row_state {
    double maximum, inverse, slope, square, factor, logit_t, grad_t, hess_t, log_total;
};
static_assert(sizeof(row_state) == softmax_state_bytes);

// What a pass over rows is compiled for. Only `labels` may do without subtracting a reference from every logit; `other`
// (second derivatives, class weights together with smoothing or soft targets, soft capping together with either, and
// where code is compact all but labels and softmax) is written block by block.
enum class row_kind { labels, smoothed, targets, capped, softmax, log_softmax, other };

// Kinds that a pass need not tell apart.
constexpr row_kind reduced_as(row_kind k) { return k == row_kind::log_softmax ? row_kind::softmax : k; }
constexpr row_kind written_as(row_kind k) {
    return k == row_kind::smoothed || k == row_kind::softmax ? row_kind::labels : k;
}

// Scratch of one row: its state, its chunks' sums, its blocks' references; for gradients that are streamed or narrow,
// its e_k; for those of capped logits, what they were capped to.
template <class T>
struct row_scratch {
    row_state* state;
    softmax_chunk* chunk;
    double* reference;
    T *e, *capped;

    static index blocks(index classes) { return (classes + row_block - 1) / row_block; }

    row_scratch(const softmax_args& a, index slot) {
        char* p = static_cast<char*>(a.scratch) + slot * a.scratch_stride;
        state = reinterpret_cast<row_state*>(p);
        chunk = reinterpret_cast<softmax_chunk*>(state + 1);
        reference = reinterpret_cast<double*>(chunk + softmax_chunks(a.classes));
        const auto past = reinterpret_cast<std::uintptr_t>(reference + blocks(a.classes));
        e = reinterpret_cast<T*>((past + line_bytes - 1) / line_bytes * line_bytes);
        const bool keeps_e = a.streaming || (sizeof(T) == sizeof(float) && a.kind != storage::same);
        capped = keeps_e ? e + softmax_kept_stride(a.classes) : e;
    }

    // The scratch of another slot, so many bytes further on.
    row_scratch moved(index bytes) const {
        const auto by = [&]<class P>(P* p) { return reinterpret_cast<P*>(reinterpret_cast<char*>(p) + bytes); };
        row_scratch other = *this;
        other.state = by(state), other.chunk = by(chunk), other.reference = by(reference);
        other.e = by(e), other.capped = by(capped);
        return other;
    }
};

// Where rows [begin, end) have their scratch: in slots that they take in turn, and what is kept of their numbers either
// there or, each row's a step before that of the row before it, in one place behind the slots.
template <class T>
class row_slots {
    const row_scratch<T> zeroth_;
    const index begin_, end_, last_, stride_, capped_;
    T* const shared_;

public:
    explicit row_slots(const softmax_args& a, index begin, index end)
        : zeroth_(a, 0),
          begin_(begin),
          end_(end),
          last_(softmax_slots(a.classes) - 1),
          stride_(a.scratch_stride),
          capped_(zeroth_.capped == zeroth_.e ? 0 : softmax_shared_stride(a.classes, end - begin)),
          shared_(softmax_shares(a.classes)
                      ? reinterpret_cast<T*>(static_cast<char*>(a.scratch) + (last_ + 1) * stride_)
                      : nullptr) {}
    row_scratch<T> operator()(index row) const {
        row_scratch<T> slot = zeroth_.moved(((row - begin_) & last_) * stride_);
        if (!shared_) return slot;
        slot.e = shared_ + (end_ - 1 - row) * softmax_shift;
        slot.capped = slot.e + capped_;
        return slot;
    }
};

// Maxima per lane of row `row`, found while the row before it was reduced: only of rows of one block, below `end`.
template <class T>
struct row_ahead {
    index end = 0, row = -1;
    vec<T> maxima{};
};

// A softmax problem of long rows, of elements E: which of them a register holds, and where the e_k are kept between
// the passes.
template <class E>
struct long_rows : softmax_problem<arithmetic<E>> {
    using T = arithmetic<E>;
    using V = vec<T>;
    using softmax_problem<T>::a, softmax_problem<T>::capped;
    static constexpr int L = lanes<V>;
    static constexpr int K = line_bytes / register_bytes;
    static constexpr index group = K * L;  // elements of a cache line

    // Where the gradient needs them, the e_k are kept from reduce to write; with `capped` the capped logits, too, with
    // `other` and capping those alone.
    const bool keeps = a.g && !a.recompute && a.output != row_output::log_softmax;

    explicit long_rows(const softmax_args& args) : softmax_problem<T>{args} {}

    const E* z_row(index row) const { return static_cast<const E*>(a.z) + row * a.classes; }
    const E* y_row(index row) const { return a.target ? static_cast<const E*>(a.target) + row * a.classes : nullptr; }
    E* g_row(index row) const { return static_cast<E*>(a.g) + row * a.classes; }
    E* h_row(index row) const { return static_cast<E*>(a.h) + row * a.classes; }

    // Whether they are kept in scratch, not where the gradient will be.
    bool keeps_apart() const { return narrow_element<E> || a.streaming; }
    T* kept_row(const row_scratch<T>& s, index row) const {
        if constexpr (!narrow_element<E>)
            if (!keeps_apart()) return g_row(row);
        return s.e;
    }

    row_kind kind() const {
        if (a.h || (capped && this->varied())) return row_kind::other;
        if (capped) return row_kind::capped;
        if (a.output == row_output::softmax) return row_kind::softmax;
        if (a.output == row_output::log_softmax) return row_kind::log_softmax;
        if (this->class_weight && (a.target || a.label_smoothing > 0)) return row_kind::other;
        if (a.target) return row_kind::targets;
        if (!a.label) return row_kind::softmax;  // log-sum-exp alone
        return a.label_smoothing > 0 ? row_kind::smoothed : row_kind::labels;
    }

    // Rows that do not count are not even read, unless their statistics are wanted.
    bool skips(index row) const { return !this->counts(row) && !this->lse && !a.correct; }

    // The target's probabilities in a block of a row; null where there are none.
    const T* target_block(index row, index first, index n, T* buffer) const {
        return a.target ? this->read(a.target, row * a.classes + first, n, buffer) : nullptr;
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
