// Long softmax rows, first pass: a chunk's sums, block by block, with a reference near the largest logit
// so far, which is raised where a block brings a much larger one.
#pragma once

#include "../../groups.hpp"
#include "exponentials.hpp"

namespace lossk {
namespace {

template <class E, class T = arithmetic<E>>
inline index first_equal(const E* z, index n, T value) {
    using V = vec<T>;
    index at = 0;
    bool found = false;  // else a NaN row
    each_register<V>(n, [&](index i, auto reach) {
        const bits<V> equal = as_bits(reach.mask(from_bits<V>(reach.load(z + i) == value)));
        if (found || !any<V>(equal)) return;
        found = true;
        for (int k = lanes<V> - 1; k >= 0; --k)
            if (equal[k]) at = i + k;
    });
    return at;
}

// A function of its own, so that its constants have the registers to themselves.
template <class T, class E>
[[gnu::noinline]] void cap_logits(const soft_cap<vec<T>> cap, const E* z, index n, T* y) {
    each_register<vec<T>>(n, [&](index i, auto reach) { reach.store(y + i, cap(reach.load(z + i))); });
}

// The reduction of one chunk of a row.
template <class E, row_kind kind>
class chunk_reduction {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr bool labels = kind == row_kind::labels, other = kind == row_kind::other;
    static constexpr bool caps = kind == row_kind::capped;
    static constexpr linear_terms linear = kind == row_kind::smoothed  ? linear_terms::equal
                                           : kind == row_kind::targets ? linear_terms::weighted
                                                                       : linear_terms::none;
    static constexpr bool mixes = other || caps;                         // its linear terms have a loop of their own
    static constexpr bool sums = mixes || linear != linear_terms::none;  // may have linear terms at all
    const long_rows<E>& in;
    const index row, begin, end, t;
    const row_scratch<T>& s;
    row_ahead<T>& ahead;
    const bool looks_ahead = in.a.classes <= row_block && row + 1 < ahead.end && !in.skips(row + 1);
    const E* const z = in.z_row(row);
    const E* const y = in.y_row(row);
    T* const kept = in.keeps ? in.kept_row(s, row) : nullptr;
    // Lines of scratch, or of logits that the result replaces, are in the caches already.
    const index distance = in.keeps_apart() || in.a.g == in.a.z ? 0 : write_ahead;
    const bool mixed = mixes && (in.a.label_smoothing > 0 || in.a.target);
    softmax_chunk out{0, 0, 0, 0, 0, 0, begin};
    row_totals<T, sums> total{};
    double moved = 0;   // of the linear terms, by changes of the reference
    index counted = 0;  // elements so far
    T largest = lowest<T>, tolerated = lowest<T>;
    row_reference<T> r{exp_from<T>::zero(), in.capped ? in.cap(splat<V>(lowest<T>))[0] : lowest<T>, in.keep_share,
                       in.even_share};
    double reference = static_cast<double>(r.subtracted);
    V coming;  // the lanes' largest of the block to come

    double mass() { return linear == linear_terms::equal ? static_cast<double>(counted) : total.weight.result(); }

    // A reference that is too small by 8 does no harm and is not worth a rescaling: e^8 is a small number.
    [[gnu::noinline]] void raise_reference(bool at_once) {
        const T top = largest_lane(coming), highest = in.capped ? in.cap(splat<V>(top))[0] : top;
        // Without labels the largest probability itself has to be exact, and so has its reference.
        const bool moderate = labels && highest >= -exp_from<T>::limit && highest <= exp_from<T>::limit;
        r.exp_k = moderate ? exp_from<T>::near(highest) : exp_from<T>::zero();
        r.subtracted = moderate ? T(0) : highest;
        const double before = reference;
        reference = static_cast<double>(r.subtracted) + r.exp_k.reference();
        tolerated = top + T(8);
        if (at_once) return;
        total.e.scale(exp_of(before - reference));
        if constexpr (sums)
            if (const double m = mass(); m != 0) moved += m * (before - reference);
    }

    [[gnu::noinline]] void note_largest(index first, index n) {
        largest = largest_lane(coming);
        out.largest = first + first_equal(z + first, n, largest);
    }

    // Whether e_k are kept: what writes a result meanwhile is compiled for that, else it is asked.
    template <bool subtracting, class X, class F>
    V take(const row_piece<T, E, X>& block, const F& meanwhile) {
        if constexpr (requires { F::reads_kept; })
            return exponentiate<subtracting, linear, F::reads_kept>(r, block, total, meanwhile);
        else if (kept && (caps || !in.capped))
            return exponentiate<subtracting, linear, true>(r, block, total, meanwhile);
        else
            return exponentiate<subtracting, linear, false>(r, block, total, meanwhile);
    }

    // The exponentials of a block whose (capped) logits are x.
    template <class X, class F>
    void exponentiate_block(const X* x, index first, index n, const F& meanwhile) {
        // The maxima of a block of another length, the last one's, are found apart.
        const index next = first + row_block, left = end - next;
        const E* const alike = z + (left >= n ? next : looks_ahead ? end : first);
        T* const e = kept ? kept + first : nullptr;
        const row_piece<T, E, X> block{x, y ? y + first : nullptr, n, t - first, e, alike, distance};
        if constexpr (!labels) {
            coming = take<true>(block, meanwhile);
        } else if (r.subtracted == T(0)) {
            coming = take<false>(block, meanwhile);
        } else {
            for (index i = 0; i + long_rows<E>::group <= n; i += long_rows<E>::group) meanwhile(i);
            coming = take<true>(block, idle{});
        }
        counted += n;
        if (left > 0 && left < n) coming = lane_maxima(z + next, left);
        if (looks_ahead) ahead.row = row + 1, ahead.maxima = coming;
    }

    // Linear terms of any weights.
    template <class X>
    void add_linear(const X* x, index first, index n) {
        alignas(line_bytes) T buffer[row_block];
        const T* target = in.target_block(row, first, n, buffer);
        group_sums<V, long_rows<T>::K> term(total.term.registers()), weight(total.weight.registers());
        each_in_groups<V, long_rows<T>::K>(n, [&](index i, auto k, auto reach) {
            const V q = reach.mask(in.linear_weights(target, first, i, reach));
            term.add(k, linear_term(q, reach.load(x + i, r.subtracted) - r.subtracted));
            weight.add(k, q);
        });
        term.give(), weight.give();
        total.term.flush();
        total.weight.flush();
    }

    template <class X, class F>
    void mixed_block(const X* x, index first, index n, const F& meanwhile) {
        if constexpr (mixes)
            if (mixed) add_linear(x, first, n);
        exponentiate_block(x, first, n, meanwhile);
    }

public:
    chunk_reduction(const long_rows<E>& problem, index at_row, index chunk, const row_scratch<T>& scratch,
                    row_ahead<T>& to_come)
        : in(problem),
          row(at_row),
          begin(chunk * row_chunk),
          end(smaller(begin + row_chunk, problem.a.classes)),
          t(problem.label(at_row)),
          s(scratch),
          ahead(to_come),
          coming(ahead.row == row ? ahead.maxima : lane_maxima(z + begin, smaller(row_block, end - begin))) {
        if (t < begin || t >= end) return;
        const V z_t = load_first<V>(z + t, 1, T(0));
        out.logit_t = static_cast<double>((in.capped ? in.cap(z_t) : z_t)[0]);
    }

    // Calls meanwhile(i) for every whole group of the block, i its first element.
    template <class F>
    [[gnu::noinline]] void block(index first, index n, const F& meanwhile) {
        if (first == begin)
            raise_reference(true);
        else if (any<V>(coming > tolerated)) [[unlikely]]
            raise_reference(false);
        if (in.a.correct && any<V>(coming > largest)) [[unlikely]]
            note_largest(first, n);
        s.reference[first / row_block] = reference;
        if (y) look_for_negative(in.a, y + first, n);
        if constexpr (!other && !caps) {
            exponentiate_block(z + first, first, n, meanwhile);
        } else if (!in.capped) {
            mixed_block(z + first, first, n, meanwhile);
        } else {
            alignas(line_bytes) T buffer[row_block];
            T* const row_start = caps ? s.capped : kept;
            T* const y_k = kept ? row_start + first : buffer;
            cap_logits(in.cap, z + first, n, y_k);
            mixed_block(static_cast<const T*>(y_k), first, n, meanwhile);
        }
    }

    softmax_chunk result() {
        out.reference = reference;
        out.top = static_cast<double>(largest);
        out.sum = total.e.result();
        const double share = linear == linear_terms::equal ? static_cast<double>(in.even_share) : 1.0;
        if constexpr (sums) {
            out.mass = share * mass();
            out.linear = share * (total.term.result() + moved);
        }
        return out;
    }
};

}  // namespace
}  // namespace lossk
