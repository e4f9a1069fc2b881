// Binding of the softmax family: cross-entropy, softmax, log-softmax and log-sum-exp over the last axis.
#include "arguments.hpp"
#include "families.hpp"
#include "labels.hpp"
#include "pieces.hpp"
#include "request.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/scratch.hpp"

#include <array>
#include <bit>

namespace lossk {
namespace softmax {

family family_of(row_output output, index classes) {
    if (classes <= short_row_classes) return family::short_rows;
    return output == row_output::loss ? family::long_rows : family::row_maps;
}

// Whether results should be streamed. A long row's e_k are kept elsewhere then, and compete for the
// caches with what is streamed: rows of up to two blocks lose by it, and those of more than 4 MB would not fit there.
bool should_stream_rows(family f, const array_view& out, const array_view& z, index rows, index classes) {
    const bool fits = classes > 2 * row_block && out.bytes() <= rows * (index{4} << 20);
    return (f == family::short_rows || fits) && should_stream(f, out, z);
}

struct call {
    request asked;
    row_inputs in{};
    std::optional<array_view> each, lse, correct;
    derivatives out;
    softmax_args a{};
    int kept = 0;  // arrays of a row's numbers: e_k, and capped logits

    explicit call(py::handle given) : asked(given) {}
    // False: something must be prepared first.
    bool accept(py::handle output, py::handle options, py::handle class_weight, py::handle ignore_index);
    void allocate();
    double run_rows();
    double run_split();
    void check_domain() const;
    py::object run();
    py::object result(double value) const;

    const softmax_entry* entry = nullptr;
};

// Options are those of cross-entropy; None: the rows may do without a target, which only statistics look at.
bool call::accept(py::handle output, py::handle options, py::handle class_weight, py::handle ignore_index) {
    if (!asked.classes_last || (asked.target.is_none() && !options.is_none())) return false;
    in.accept_ignored(ignore_index);
    a.output = static_cast<row_output>(PyLong_AsLong(output.ptr()));
    std::array<double, cross_entropy_option_count> given{};
    if (!options.is_none()) read_parameters(options, cross_entropy_option_count, given.data());
    static_cast<cross_entropy_options&>(a) = std::bit_cast<cross_entropy_options>(given);
    if (!in.accept_z(asked.z, asked.target.is_none() ? "x" : "z") ||
        !in.accept_weights(class_weight, asked.sample_weight) || !in.accept_target(asked.target))
        return false;
    if (!options.is_none()) in.check_ignored();
    if (in.target && bends(a))
        throw py::value_error(
            "target: got probabilities, wanted labels: focal_gamma and poly_epsilon are of the label's probability");
    return in.accept_out(asked.out, asked.what, out);
}

void call::allocate() {
    const array_view& z = *in.z;
    const py::dtype dtype = arithmetic_dtype(in.type);
    out.allocate(asked.what, z);
    if (wants_value(asked.what) && asked.how == reduction::none) each = in.fresh_rows("losses", dtype);
    if (asked.stats) {
        lse = in.fresh_rows("stats.lse", dtype);
        correct = in.fresh_rows("stats.correct", py::dtype::of<bool>());
    }
    a.z = z.data();
    a.rows = in.rows;
    a.classes = a.row_classes = in.classes;
    a.row_chunks = softmax_chunks(a.classes);
    const family kind = family_of(a.output, a.classes);
    entry = &tuned_kernels(kind).softmax[arithmetic_of(in.type)];
    a.target = in.target_data();
    a.class_weight = in.class_weight_data();
    a.row_weight = in.row_weight_data();
    a.each = each ? each->mutable_data() : nullptr;
    a.g = out.g_data();
    a.h = out.h_data();
    a.lse = lse ? lse->mutable_data() : nullptr;
    a.correct = correct ? reinterpret_cast<std::uint8_t*>(correct->mutable_data()) : nullptr;
    a.kind = storage_of(in.type);
    const bool narrow = a.kind != storage::same;
    a.streaming =
        out.g && !(narrow && kind == family::short_rows) && should_stream_rows(kind, *out.g, z, a.rows, a.classes);
    kept = int{a.streaming || (a.g && narrow)} + int{a.g && a.softcap > 0};
}

// Rows to a piece: a chunk's worth, and where rows are many more, as rows are written while others are reduced, which
// the first and the last of a piece miss; but not so many that threads would run out of pieces.
index rows_per_piece(index rows, index classes) {
    const index chunkful = row_chunk / classes;
    if (chunkful >= 64) return chunkful / 64 * 64;
    return std::max({chunkful, std::clamp(rows / 64, index{1}, index{8}), std::min(rows / 128, index{64})});
}

double call::run_rows() {
    const index per_piece = rows_per_piece(a.rows, a.classes);
    const softmax_kernel rows = a.classes <= short_row_classes ? entry->short_rows : entry->long_rows;
    const int most = worthwhile_threads(asked.threads, 2 * in.z->size());
    const index bytes = arithmetic_bytes(in.type);
    a.scratch_stride = softmax_slot_bytes(a.classes, bytes, kept);
    const scratch memory(static_cast<std::size_t>(softmax_pass_bytes(a.classes, bytes, kept, per_piece)),
                         threads_for(pieces_of(a.rows, per_piece), most));
    return sum_of_pieces(a.rows, per_piece, most, [&](index begin, index end) {
        softmax_args own = a;
        own.scratch = memory.of_this_worker();
        return rows(own, begin, end);
    });
}

// Few long rows: their chunks are shared out, twice.
double call::run_split() {
    const index items = a.rows * pieces_of(a.classes, row_chunk);
    const softmax_entry& rows = *entry;
    a.scratch_stride = softmax_scratch_bytes(a.classes, arithmetic_bytes(in.type), kept);
    const scratch memory(static_cast<std::size_t>(a.rows * a.scratch_stride));
    a.scratch = memory.of_this_worker();
    const softmax_rows all{0, a.rows};
    parallel_for(items, asked.threads, [&](index first, index last) { rows.reduce(a, all, first, last); });
    double total = 0;  // added up as run_rows does
    for (index row = 0, step = rows_per_piece(a.rows, a.classes); row < a.rows; row += step)
        total += rows.normalise(a, row, std::min(row + step, a.rows));
    if (wants_grad(asked.what))
        parallel_for(items, asked.threads, [&](index first, index last) { rows.write(a, all, first, last); });
    return total;
}

void call::check_domain() const {
    if (in.target && asked.check)
        in.check_probabilities(kernels().below_0[arithmetic_of(in.type)], std::array<double, max_parameters>{}.data(),
                               asked.threads);
}

py::object call::run() {
    const bool overwrites = out.g || out.h;
    allocate();
    if (overwrites) check_domain();
    bool outside = false;
    a.outside = asked.check && !overwrites && in.target ? &outside : nullptr;
    double value = 0, divisor = 1;
    index bad = -1;
    without_gil(in.z->size(), interrupts_of(overwrites), [&] {
        const label_summary summary = in.count(asked.threads);
        bad = summary.first_bad;
        if (bad >= 0) return;
        a.label = in.label_data(asked.threads, summary, a.classes <= short_row_classes);
        if (asked.how == reduction::mean) divisor = asked.normalizer ? *asked.normalizer : summary.weight;
        a.scale = a.output == row_output::loss ? 1.0 / divisor : 1.0;
        // By one thread, too, where it would be long until the call can be interrupted.
        const bool worthwhile = asked.threads > 1 || a.classes >= index{1} << 24;
        const bool split = worthwhile && a.rows < 2 * asked.threads && a.classes >= 2 * row_chunk;
        if (a.rows > 0) value = split ? run_split() : run_rows();
    });
    if (bad >= 0) in.throw_bad_label(bad);
    if (outside) check_domain();
    return result(value / divisor);
}

py::object call::result(double value) const {
    const py::object main = out.result(asked.what, each ? py::object(each->object()) : py::object(py::float_(value)));
    if (!asked.stats) return main;
    return py::make_tuple(main, lse->object(), correct->object());
}

// In: output, options, class weights, label that is ignored.
py::object softmax_call(const arguments& in, py::handle request) {
    call c(request);
    if (!c.accept(in[0], in[1], in[2], in[3])) return not_implemented();
    return c.run();
}

}  // namespace softmax

void bind_softmax(py::module_& m) {
    using namespace softmax;
    define_bound<softmax_call, 4>(m, "softmax");
}

}  // namespace lossk
