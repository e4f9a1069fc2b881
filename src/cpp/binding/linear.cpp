// Binding of the linear layer with cross-entropy: one chunk of rows a call. python/lossk/_linear checks what users pass
// and cuts the chunks; here are the passes over one, and who works on them.
#include "arrays.hpp"
#include "families.hpp"

#include "../base/linear.hpp"
#include "../runtime/cpu.hpp"
#include "../runtime/parallel.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

namespace lossk {
namespace linear {

template <class T>
T* data_of(const py::handle& array) {
    return array.is_none() ? nullptr : static_cast<T*>(const_cast<void*>(py::cast<py::array>(array).data()));
}

element element_of_array(const py::array& a, const char* name) {
    const std::optional<array_view> seen = view(a);
    const std::optional<element> type = seen ? element_of(*seen) : std::nullopt;
    if (type) return *type;
    const std::string kind = py::str(py::type::handle_of(a).attr("__name__")), dtype = py::str(a.dtype());
    throw py::type_error(std::string(name) + ": got " + kind + " of " + dtype +
                         ", wanted a plain, C-contiguous, aligned array of floats");
}

// What multiplies inputs of this type. Pairs of bf16 where the CPU has a unit for them: of f32 as many as `terms`,
// whose sum stands for a number.
const linear_kernels& unit_of(element type, int terms) {
    if (terms < 1 || terms > linear_most_terms) throw py::value_error("linear: wanted 1 to 3 terms");
    const kernel_table& table = kernels();
    if (type == element::bf16 || type == element::f32) {
        const linear_kernels* const pairs = bf16_unit_of(table, type == element::bf16 ? 1 : terms);
        static bool told = false;
        if (amx_is_wrong() && !told) {
            told = true;
            if (PyErr_WarnEx(PyExc_RuntimeWarning,
                             "lossk: this CPU's AMX multiplied known numbers wrongly; it is not used", 1) < 0)
                throw py::error_already_set();
        }
        if (pairs) return *pairs;
    }
    return *table.linear[arithmetic_of(type)];
}

// Bytes for a chunk of so many rows and a window of so many classes, for each thread, and for each block that is kept.
std::array<index, 3> bytes_of(const py::array& x, int terms, index rows, index features, index window, bool gradient) {
    const linear_unit& unit = unit_of(element_of_array(x, "x"), terms).shape;
    return {linear_layout_of(unit, rows, features, window, gradient).end + 64, linear_scratch(unit),
            linear_kept_bytes(rows)};
}

struct passes {
    const linear_kernels& unit;
    linear_args a;
    linear_layout l;
    index scratch_bytes;
    int threads;

    template <class F>
    void share(index items, F&& kernel) const {
        parallel_for(items, threads, [&](index begin, index end) {
            linear_args own = a;
            own.scratch = a.scratch + worker() * scratch_bytes;
            kernel(own, begin, end);
        });
    }
    template <class F>
    void each_window(F&& work) {
        for (a.begin = 0; a.begin < a.classes; a.begin += a.window) work(std::min(a.window, a.classes - a.begin));
    }
    index blocks(index classes) const { return (classes + linear_block - 1) / linear_block; }

    index groups() const { return l.rows / linear_rows; }
    void sum_up() {
        share(groups(), unit.pack);
        a.sums = true;
        each_window([&](index classes) {
            share(blocks(classes), unit.logits);
            share(groups(), unit.merge);
        });
    }
    void give_gradients(bool again) {
        a.sums = false;
        each_window([&](index classes) {
            if (again) share(blocks(classes), unit.logits);
            share(blocks(classes), unit.dz_and_dw);
            share_features();
            count_left_out(classes);
        });
        share(groups(), unit.give_dx);
    }
    double run() {
        sum_up();
        const double total = unit.normalise(a);
        if (a.dx) give_gradients(a.window < a.classes);
        return total;
    }
    index all_parts = 0, parts_left_out = 0;  // of dz
    // Each thread takes a range of features, as each range reads all of dz; two where there are enough, as one thread
    // may be slower than another.
    void share_features() const {
        const index tiles = (a.features + unit.shape.tile_rows - 1) / unit.shape.tile_rows;
        const index ranges = std::clamp<index>(tiles / 8, std::min<index>(threads, tiles), index{2} * threads);
        share(ranges, [&](const linear_args& own, index begin, index end) {
            for (index i = begin; i < end; ++i) unit.dx(own, i * tiles / ranges, (i + 1) * tiles / ranges);
        });
    }
    void count_left_out(index classes) {
        if (!(a.filter_eps > 0)) return;
        const auto* flags = reinterpret_cast<const std::uint8_t*>(a.memory + l.flags);
        for (index c = 0; c < classes; c += unit.shape.filtered)
            for (index group = 0; group < groups(); ++group, ++all_parts)
                parts_left_out += !flags[c / unit.shape.filtered * groups() + group];
    }
    double left_out() const {
        return all_parts > 0 ? static_cast<double>(parts_left_out) / static_cast<double>(all_parts) : 0.0;
    }
};

// Where exponentials wait for the second pass: those of the first blocks in dw, the next ones in memory of the chunk.
// The second pass writes dw from its beginning on, and reads a window's exponentials before it writes the window's
// rows. Blocks in dw lie at least as far apart as their rows, so none is overwritten before it has been read.
void keep_exponentials(linear_args& a, char* memory, index blocks) {
    const bool writes_dw = a.dw_kind == storage::bf16 && a.dw[0].first == 0 && a.dw[0].end == a.classes;
    if (!writes_dw || !a.dx || a.softcap > 0 || a.window >= a.classes) return;
    const index bytes = linear_kept_bytes(a.rows), row = a.features * index{sizeof(std::uint16_t)};
    const index stride = std::max(bytes, linear_block * row);
    a.kept[0] = {static_cast<char*>(a.dw[0].rows), a.classes * row / stride, stride};
    a.kept[1] = {memory, blocks, bytes};
}

passes passes_in(const py::array& memory, const linear_kernels& unit, linear_args a, index threads, index kept) {
    const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
    const auto aligned = (start + 63) / 64 * 64;
    a.memory = reinterpret_cast<char*>(aligned);
    const linear_layout l = linear_layout_of(unit.shape, a.rows, a.features, a.window, a.dx != nullptr);
    const index end = l.end + linear_up(kept * linear_kept_bytes(a.rows), 64);
    const index left = static_cast<index>(start + static_cast<std::uintptr_t>(memory.nbytes()) - aligned) - end;
    keep_exponentials(a, a.memory + l.end, kept);
    a.scratch = a.memory + end;
    const index each_thread = linear_scratch(unit.shape);
    if (left < each_thread) throw py::value_error("linear: got too little memory");
    return {unit, a, l, each_thread, static_cast<int>(std::min(threads, left / each_thread))};
}

// The rows of a chunk: their loss, and what they add to the gradients. All arrays are C-contiguous and of the types
// that they have in linear_args.
py::tuple chunk_call(const py::array& x, const py::array& w, const py::object& bias, const py::array& labels,
                     const py::object& at, const py::object& class_weight, const py::object& row_weight,
                     std::array<double, cross_entropy_option_count> options, double class_weight_sum, double scale,
                     const py::object& each, const py::object& lse, const py::object& correct, const py::object& dx,
                     const std::vector<std::pair<index, py::array>>& dw, bool first, const py::object& dbias,
                     double filter_eps, int terms, index window, index kept, const py::array& memory, int threads) {
    const element type = element_of_array(x, "x");
    const linear_kernels& unit = unit_of(type, terms);
    linear_args a{};
    a.x = x.data();
    a.w = w.data();
    a.bias = data_of<void>(bias);
    a.kind = storage_of(type);
    a.rows = labels.size();
    a.features = w.shape(1);
    a.classes = a.row_classes = w.shape(0);
    a.at = data_of<std::int64_t>(at);
    a.label = static_cast<const std::int64_t*>(labels.data());
    a.class_weight = data_of<void>(class_weight);
    a.row_weight = data_of<void>(row_weight);
    static_cast<cross_entropy_options&>(a) = std::bit_cast<cross_entropy_options>(options);
    a.class_weight_sum = class_weight_sum;
    a.scale = scale;
    a.each = data_of<void>(each);
    a.lse = data_of<void>(lse);
    a.correct = data_of<std::uint8_t>(correct);
    a.dx = data_of<void>(dx);
    a.dx_kind = a.kind;
    if (dw.size() > 2 || window < 1) throw py::value_error("linear: got more than two segments, or no window");
    for (std::size_t i = 0; i < dw.size(); ++i) {
        const auto& [begin, rows] = dw[i];
        a.dw[i] = {begin, begin + rows.shape(0), const_cast<void*>(rows.data())};
        a.dw_kind = storage_of(element_of_array(rows, "dw"));
    }
    a.first = first;
    a.dbias = data_of<double>(dbias);
    a.filter_eps = filter_eps;
    a.window = window;
    passes run = passes_in(memory, unit, a, threads, kept);
    double total = 0;
    {
        const released_lock released;
        total = run.run();
    }
    return py::make_tuple(total, run.left_out());
}

// A piece of the classes of a chunk of rows, for layers whose classes are spread over processes: its sums, and with
// those of all pieces its gradients. Labels are the piece's, past its last class where they lie elsewhere.
class shard {
    std::vector<py::object> arrays_;  // that the arguments point to
    std::optional<passes> run_;

    using numbers = py::array_t<double, py::array::c_style>;

public:
    shard(const py::array& x, const py::array& w, const py::object& bias, const py::array& labels,
          const py::object& class_weight, const py::object& row_weight,
          const std::array<double, cross_entropy_option_count>& options, index row_classes, double class_weight_sum,
          double scale, const py::object& each, const py::object& lse, const py::object& correct, const py::object& dx,
          const py::object& dw, bool first, const py::object& dbias, int terms, const py::array& memory, int threads)
        : arrays_{x, w, bias, labels, class_weight, row_weight, each, lse, correct, dx, dw, dbias, memory} {
        const element type = element_of_array(x, "x");
        linear_args a{};
        a.x = x.data();
        a.w = w.data();
        a.bias = data_of<void>(bias);
        a.kind = storage_of(type);
        a.rows = x.shape(0);
        a.features = w.shape(1);
        a.classes = a.window = w.shape(0);
        a.row_classes = row_classes;
        a.label = static_cast<const std::int64_t*>(labels.data());
        a.class_weight = data_of<void>(class_weight);
        a.row_weight = data_of<void>(row_weight);
        static_cast<cross_entropy_options&>(a) = std::bit_cast<cross_entropy_options>(options);
        a.class_weight_sum = class_weight_sum;
        a.scale = scale;
        a.each = data_of<void>(each);
        a.lse = data_of<void>(lse);
        a.correct = data_of<std::uint8_t>(correct);
        a.dx = data_of<void>(dx);
        a.dx_kind = storage::same;
        a.keeps_logits = true;
        if (!dw.is_none()) a.dw[0] = {0, a.classes, data_of<void>(dw)};
        a.dw_kind = storage::same;
        a.first = first;
        a.dbias = data_of<double>(dbias);
        run_.emplace(passes_in(memory, unit_of(type, terms), a, threads, 0));
    }

    // What every row comes to in the piece: linear_row_numbers rows of them.
    numbers sum_up() {
        const linear_layout& l = run_->l;
        numbers found(std::array{index{linear_row_numbers}, run_->a.rows});
        auto* const sums = reinterpret_cast<double*>(run_->a.memory + l.row_sums);
        const released_lock released;
        std::fill_n(sums, linear_row_numbers * l.rows, 0.0);
        run_->sum_up();
        for (index i = 0; i < linear_row_numbers; ++i)
            std::copy_n(sums + i * l.rows, run_->a.rows, found.mutable_data() + i * run_->a.rows);
        return found;
    }

    // The loss of the rows, from those of all pieces, labels and weights of all classes; the gradients. `again`:
    // another piece has used the memory since.
    double finish(const numbers& of_rows, const py::array& labels, const py::object& class_weight, bool again) {
        const linear_layout& l = run_->l;
        auto* const sums = reinterpret_cast<double*>(run_->a.memory + l.row_sums);
        linear_args whole = run_->a;
        whole.label = static_cast<const std::int64_t*>(labels.data());
        whole.class_weight = data_of<void>(class_weight);
        const released_lock released;
        if (again && whole.dx) run_->share(run_->groups(), run_->unit.pack);
        for (index i = 0; i < linear_row_numbers; ++i)
            std::copy_n(of_rows.data() + i * whole.rows, whole.rows, sums + i * l.rows);
        const double total = run_->unit.normalise(whole);
        if (whole.dx) run_->give_gradients(again);
        return total;
    }
};

}  // namespace linear

void bind_linear(py::module_& m) {
    using namespace linear;
    using namespace py::literals;
    m.def("linear_bytes", bytes_of, "x"_a, "terms"_a, "rows"_a, "features"_a, "window"_a, "gradient"_a);
    m.def("linear_chunk", chunk_call, py::kw_only(), "x"_a, "w"_a, "bias"_a, "labels"_a, "at"_a, "class_weight"_a,
          "row_weight"_a, "options"_a, "class_weight_sum"_a, "scale"_a, "each"_a, "lse"_a, "correct"_a, "dx"_a, "dw"_a,
          "first"_a, "dbias"_a, "filter_eps"_a, "terms"_a, "window"_a, "kept"_a, "memory"_a, "threads"_a);
    py::class_<shard>(m, "LinearShard")
        .def(py::init<const py::array&, const py::array&, const py::object&, const py::array&, const py::object&,
                      const py::object&, const std::array<double, cross_entropy_option_count>&, index, double, double,
                      const py::object&, const py::object&, const py::object&, const py::object&, const py::object&,
                      bool, const py::object&, int, const py::array&, int>(),
             py::kw_only(), "x"_a, "w"_a, "bias"_a, "labels"_a, "class_weight"_a, "row_weight"_a, "options"_a,
             "row_classes"_a, "class_weight_sum"_a, "scale"_a, "each"_a, "lse"_a, "correct"_a, "dx"_a, "dw"_a,
             "first"_a, "dbias"_a, "terms"_a, "memory"_a, "threads"_a)
        .def("sum_up", &shard::sum_up)
        .def("finish", &shard::finish, py::kw_only(), "of_rows"_a, "labels"_a, "class_weight"_a, "again"_a);
    m.def("linear_unit", [](const py::array& x, int terms) { return unit_of(element_of_array(x, "x"), terms).unit; });
}

}  // namespace lossk
