// Binding of the softmax family: cross-entropy, softmax, log-softmax and log-sum-exp over the last axis.
#include "arguments.hpp"
#include "families.hpp"
#include "labels.hpp"
#include "pieces.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"
#include "../runtime/scratch.hpp"

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

// Positions of what Python passes.
enum argument : std::size_t {
    output_at,
    verb_at,
    z_at,
    target_at,
    options_at,  // label smoothing, z-loss, soft cap
    class_weight_at,
    ignore_index_at,
    sample_weight_at,
    reduction_at,
    normalizer_at,
    threads_at,
    out_at,
    stats_at,
    argument_count,
};

struct call {
    row_inputs in;
    verb what;
    reduction how;
    std::optional<double> normalizer;
    int threads;
    bool stats;
    std::optional<array_view> each, lse, correct;
    derivatives out;
    softmax_args a{};
    int kept = 0;  // arrays of a row's numbers: e_k, and capped logits

    bool accept(const arguments& given);
    void allocate();
    double run_rows();
    double run_split();
    py::object run();
    py::object result(double value) const;

    const softmax_entry* entry = nullptr;
};

bool call::accept(const arguments& given) {
    what = verb_of(given[verb_at]);
    how = reduction_of(given[reduction_at]);
    normalizer = normalizer_of(given[normalizer_at], how);
    threads = threads_of(given[threads_at]);
    const int truth = PyObject_IsTrue(given[stats_at].ptr());
    if (truth < 0) throw py::error_already_set();
    stats = truth == 1;
    if (!given[ignore_index_at].is_none()) in.ignore_index = PyLong_AsLongLong(given[ignore_index_at].ptr());
    a.output = static_cast<row_output>(PyLong_AsLong(given[output_at].ptr()));
    double options[3];
    read_parameters(given[options_at], 3, options);
    a.label_smoothing = options[0];
    a.z_loss = options[1];
    a.softcap = options[2];
    return in.accept_z(given[z_at], given[target_at].is_none() ? "x" : "z") &&
           in.accept_weights(given[class_weight_at], given[sample_weight_at]) && in.accept_target(given[target_at]) &&
           in.accept_out(given[out_at], what, out);
}

void call::allocate() {
    const array_view& z = *in.z;
    const py::dtype dtype = arithmetic_dtype(in.type);
    out.allocate(what, z);
    if (wants_value(what) && how == reduction::none) each = in.fresh_rows("losses", dtype);
    if (stats) {
        lse = in.fresh_rows("stats.lse", dtype);
        correct = in.fresh_rows("stats.correct", py::dtype::of<bool>());
    }
    a.z = z.data();
    a.rows = in.rows;
    a.classes = in.classes;
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
    a.streaming = out.g && !narrow && should_stream_rows(kind, *out.g, z, a.rows, a.classes);
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
    const int most = worthwhile_threads(threads, 2 * in.z->size());
    const index bytes = arithmetic_dtype(in.type).itemsize();
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
    a.scratch_stride = softmax_scratch_bytes(a.classes, arithmetic_dtype(in.type).itemsize(), kept);
    const scratch memory(static_cast<std::size_t>(a.rows * a.scratch_stride));
    a.scratch = memory.of_this_worker();
    parallel_for(items, threads, [&](index first, index last) { rows.reduce(a, first, last); });
    double total = 0;  // added up as run_rows does
    for (index row = 0, step = rows_per_piece(a.rows, a.classes); row < a.rows; row += step)
        total += rows.normalise(a, row, std::min(row + step, a.rows));
    if (wants_grad(what)) parallel_for(items, threads, [&](index first, index last) { rows.write(a, first, last); });
    return total;
}

py::object call::run() {
    allocate();
    double value = 0, divisor = 1;
    index bad = -1;
    without_gil(in.z->size(), [&] {
        const label_summary summary = in.count(threads);
        bad = summary.first_bad;
        if (bad >= 0) return;
        a.label = in.label_data(threads, summary, a.classes <= short_row_classes);
        if (how == reduction::mean) divisor = normalizer ? *normalizer : summary.weight;
        a.scale = a.output == row_output::loss ? 1.0 / divisor : 1.0;
        const bool split = threads > 1 && a.rows < 2 * threads && a.classes >= 2 * row_chunk;
        if (a.rows > 0) value = split ? run_split() : run_rows();
    });
    if (bad >= 0) in.throw_bad_label(bad);
    return result(value / divisor);
}

py::object call::result(double value) const {
    const py::object main = out.result(what, each ? py::object(each->object()) : py::object(py::float_(value)));
    if (!stats) return main;
    return py::make_tuple(main, lse->object(), correct->object());
}

py::object softmax_call(const arguments& given) {
    call c{};
    if (!c.accept(given)) return not_implemented();
    return c.run();
}

}  // namespace softmax

void bind_softmax(py::module_& m) {
    using namespace softmax;
    define<softmax_call, argument_count>(m, "softmax");
}

}  // namespace lossk
