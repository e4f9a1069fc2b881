// Long softmax rows, last pass: the result of a chunk, block by block, while another row is being reduced.
#pragma once

#include "exponentials.hpp"
#include "formulas.hpp"

namespace lossk {
namespace {

// n results from element `first` of a row on. What is streamed goes out by whole groups, a line or half a line: the
// first of them begins `past` elements before these.
template <class G, class Formula>
struct result_block {
    using V = typename Formula::V;
    static constexpr int L = lanes<V>, K = line_bytes / register_bytes;
    static constexpr index group = K * L;
    static constexpr bool reads_kept = Formula::reads_kept;

    Formula formula;
    G* g;  // the row's
    index first, n, past;

    // Up to which whole groups are streamed: the one that the next block begins in is left to that.
    index streamed() const { return n / group * group - past; }
    // The line that is streamed lies behind the logits that are read next, not ahead of them: a load waits for a
    // pending store at the same offset in its page (4K aliasing), and rows of a multiple of 4 KiB have such offsets
    // everywhere.
    template <bool streaming>
    [[gnu::always_inline]] void write_group(index i) const {
        if constexpr (streaming) {
            i -= past;
            if (i < 0) return;  // the group that the block before has begun
        }
        i += first;
        // Other results have the lines in which their e_k were kept.
        if constexpr (!streaming && narrow_element<G>) prefetch_to_write<group>(g + i, write_ahead);
        // The row has left L1 since it was reduced; for 16 bits whole registers are faster all the same.
        constexpr whole_register<V, !narrow_element<G>> reach{};
        for (int k = 0; k < K; ++k) {
            const V v = formula.at(i + k * L, reach);
            if constexpr (streaming)
                store_streaming(g + i + k * L, v);
            else
                reach.store(g + i + k * L, v);
        }
    }
    // The group that begins in the block before, whose formula may have other constants. A short last block ends in it.
    [[gnu::noinline]] void write_shared_group(const Formula& before) const {
        if (n < group - past) {
            result_block{before, g, first, n, past}.write_plainly(-past, 0);
            return write_plainly(0, n);
        }
        const index i = first - past;
        for (int k = 0; k < K; ++k) {
            const index theirs = first - i - k * L;
            const bits<V> mask = first_lanes<V>(static_cast<int>(theirs < 0 ? 0 : theirs));
            const index at = i + k * L;
            const whole_register<V> reach{};
            store_streaming(g + at, choose<V>(mask, before.at(at, reach), formula.at(at, reach)));
        }
    }
    [[gnu::noinline]] void write_plainly(index begin, index end) const {
        each_register<V>(end - begin, [&](index j, auto reach) {
            const index i = first + begin + j;
            reach.store(g + i, formula.at(i, reach));
        });
    }
};

// Writes a block group by group. Inlined always: a call would empty the registers of the loop that makes it.
template <bool streaming, class Block>
struct group_writer {
    static constexpr bool reads_kept = Block::reads_kept;
    Block block;
    [[gnu::always_inline]] void operator()(index i) const { block.template write_group<streaming>(i); }
};

// The result of one chunk of a row, written block by block.
template <class E, row_kind kind>
class result_writer {
    using T = arithmetic<E>;
    using V = vec<T>;
    static constexpr bool narrow = narrow_element<E>;
    // 16 bits are streamed by half lines, in one store, as quarters take longer than a line that is read before; of
    // what is asked for less often they are stored, for the sake of less code.
    static constexpr bool streams = !narrow || (register_bytes == line_bytes && kind == row_kind::labels);
    static constexpr index group = long_rows<T>::group;
    using stream = line_stream<T, row_block>;
    using formula = decltype(formula_at<kind>(long_rows<E>({}), 0, 0, row_scratch<T>({}, 0)));

    const long_rows<E>& in;
    const index row, begin, end;
    const row_scratch<T>& s;
    E* const g = in.g_row(row);
    E* const h = in.a.h ? in.h_row(row) : g;
    // Formulas are streamed at once, by whole groups; other results by way of a line_stream.
    const bool by_formula = kind != row_kind::other && in.counts(row),
               at_once = streams && by_formula && in.a.streaming;
    formula before;  // of the block before
    stream g_stream{streamed(g)}, h_stream{streamed(h)};

    T* streamed(E* row_start) const {
        if constexpr (narrow)
            return nullptr;  // never is
        else
            return row_start + begin;
    }

    template <class F>
    void write_formula(index first, index n, F&& work) {
        const index past = at_once ? past_multiple<group>(g + first) : 0, lead = smaller((group - past) % group, n);
        const result_block<E, formula> block{formula_at<kind>(in, row, first, s), g, first, n, past};
        if (lead > 0) first == begin ? block.write_plainly(0, lead) : block.write_shared_group(before);
        if constexpr (streams)
            if (at_once) work(group_writer<true, result_block<E, formula>>{block});
        if (!at_once) work(group_writer<false, result_block<E, formula>>{block});
        if (!at_once || first + n == end) block.write_plainly(lead > block.streamed() ? lead : block.streamed(), n);
        before = block.formula;
    }

    // The label's element, whose p_t - 1 must not suffer from cancellation.
    void write_label(T* g_t, T* h_t) const {
        const row_state& r = *s.state;
        double grad = r.grad_t, hess = r.hess_t;
        if (in.capped) {
            const soft_cap<vec<double>> wide{in.a.softcap};
            const vec<double> y = splat<vec<double>>(r.logit_t);
            const double bend = wide.slope(y)[0];
            hess = hess * bend * bend + grad * wide.curvature(y)[0];
            grad *= bend;
        }
        *g_t = static_cast<T>(grad);
        if (in.a.h) *h_t = static_cast<T>(hess);
    }

    void fill(index first, index n, T* to, T* h_to) const {
        if constexpr (kind == row_kind::other) {
            if (in.counts(row)) any_gradient<E>{in, row, s}.fill(first, n, to, h_to);
        }
        if (!in.counts(row)) {
            for (index i = 0; i < n; ++i) to[i] = h_to[i] = T(0);
            return;
        }
        const index t = in.label(row) - first;
        if (static_cast<std::uint64_t>(t) < static_cast<std::uint64_t>(n)) write_label(to + t, h_to + t);
    }

    void write_other(index first, index n) {
        if constexpr (narrow) {
            alignas(line_bytes) T g_tile[row_block], h_tile[row_block];
            fill(first, n, g_tile, h_tile);
            narrow_tile(g_tile, n, g + first);
            if (in.a.h) narrow_tile(h_tile, n, h + first);
        } else if (in.a.streaming) {
            fill(first, n, g_stream.here(), h_stream.here());
            g_stream.push(n);
            if (in.a.h) h_stream.push(n);
        } else {
            fill(first, n, g + first, h + first);
        }
    }

public:
    result_writer(const long_rows<E>& problem, index at_row, index chunk, const row_scratch<T>& scratch)
        : in(problem),
          row(at_row),
          begin(chunk * row_chunk),
          end(smaller(begin + row_chunk, problem.a.classes)),
          s(scratch) {}
    ~result_writer() {
        const index t = in.label(row);
        if (!by_formula || t < begin || t >= end) return;
        T grad{}, hess{};
        write_label(&grad, &hess);
        if constexpr (narrow)
            store_first(g + t, splat<V>(grad), 1);
        else
            g[t] = grad;
    }
    result_writer(const result_writer&) = delete;

    // The result of a block. Calls work once, with what is to be called for each whole group of the block meanwhile.
    template <class F>
    void block(index first, index n, F&& work) {
        if constexpr (kind != row_kind::other)
            if (by_formula) return write_formula(first, n, work);
        work(idle{});
        write_other(first, n);
    }
    void block(index first, index n) {
        block(first, n, [&](const auto& write_group) {
            for (index i = 0; i + group <= n; i += group) write_group(i);
        });
    }
};

}  // namespace
}  // namespace lossk
