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
            share(blocks(classes), [&](const linear_args& own, index begin, index end) {
                for (index b = begin; b < end; ++b) {  // while its logits are in the caches
                    if (again) unit.logits(own, b, b + 1);
                    unit.dz_and_dw(own, b, b + 1);
                }
            });
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
    // may be slower than another, and more where a range would be so long that a call could not be interrupted in time:
    // 2^31 products take a core some 50 ms.
    void share_features() const {
        const index tiles = (a.features + unit.shape.tile_rows - 1) / unit.shape.tile_rows;
        const index long_ranges = a.rows * std::min(a.window, a.classes) * a.features >> 31;
        const index most = std::max(index{2} * threads, long_ranges);
        const index ranges = std::clamp<index>(tiles / 8, std::min<index>(threads, tiles), most);
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

// Arguments by name, as python/lossk/_linear gives them: arrays are C-contiguous, of the types that they have in
// linear_args, or None.
class request {
    const py::kwargs& given_;

public:
    explicit request(const py::kwargs& given) : given_(given) {}
    template <class T>
    T at(const char* name) const {
        return given_[name].cast<T>();
    }
    template <class T = void>
    T* data(const char* name) const {
        return data_of<T>(at<py::object>(name));
    }
    element type() const { return element_of_array(at<py::array>("x"), "x"); }
    const linear_kernels& unit() const { return unit_of(type(), at<int>("terms")); }

    // What a chunk and a piece of one have alike.
    linear_args arguments() const {
        linear_args a{};
        const auto w = at<py::array>("w");
        a.x = data("x");
        a.w = w.data();
        a.bias = data("bias");
        a.kind = storage_of(type());
        a.rows = at<py::array>("labels").size();
        a.features = w.shape(1);
        a.classes = w.shape(0);
        a.label = data<std::int64_t>("labels");
        a.class_weight = data("class_weight");
        a.row_weight = data("row_weight");
        static_cast<cross_entropy_options&>(a) =
            std::bit_cast<cross_entropy_options>(at<std::array<double, cross_entropy_option_count>>("options"));
        a.class_weight_sum = at<double>("class_weight_sum");
        a.scale = at<double>("scale");
        a.each = data("each");
        a.lse = data("lse");
        a.correct = data<std::uint8_t>("correct");
        a.dx = data("dx");
        a.first = at<bool>("first");
        a.dbias = data<double>("dbias");
        return a;
    }
    passes passes_of(const linear_args& a, index kept) const {
        return passes_in(at<py::array>("memory"), unit(), a, at<int>("threads"), kept);
    }
};

// The rows of a chunk: their loss, and what they add to the gradients.
py::tuple chunk_call(const py::kwargs& given) {
    const request asked(given);
    linear_args a = asked.arguments();
    a.row_classes = a.classes;
    a.at = asked.data<std::int64_t>("at");
    a.dx_kind = a.kind;
    const auto dw = asked.at<std::vector<std::pair<index, py::array>>>("dw");
    a.window = asked.at<index>("window");
    if (dw.size() > 2 || a.window < 1) throw py::value_error("linear: got more than two segments, or no window");
    for (std::size_t i = 0; i < dw.size(); ++i) {
        const auto& [begin, rows] = dw[i];
        a.dw[i] = {begin, begin + rows.shape(0), const_cast<void*>(rows.data())};
        a.dw_kind = storage_of(element_of_array(rows, "dw"));
    }
    a.filter_eps = asked.at<double>("filter_eps");
    passes run = asked.passes_of(a, asked.at<index>("kept"));
    // 64 products take as long as an element of other losses, about.
    const index work = a.rows * a.features * std::min(a.window, a.classes) / 64;
    const double total = without_gil(work, interrupts_of(asked.at<bool>("whole")), [&] { return run.run(); });
    return py::make_tuple(total, run.left_out());
}

// A piece of the classes of a chunk of rows, for layers whose classes are spread over processes: its sums, and with
// those of all pieces its gradients. Labels are the piece's, past its last class where they lie elsewhere.
class shard {
    py::kwargs arrays_;  // that the arguments point to
    std::optional<passes> run_;

    using numbers = py::array_t<double, py::array::c_style>;

public:
    explicit shard(const py::kwargs& given) : arrays_(given) {
        const request asked(given);
        linear_args a = asked.arguments();
        a.window = a.classes;
        a.row_classes = asked.at<index>("row_classes");
        a.dx_kind = a.dw_kind = storage::same;
        a.keeps_logits = true;
        if (void* const dw = asked.data("dw")) a.dw[0] = {0, a.classes, dw};
        run_.emplace(asked.passes_of(a, 0));
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
    m.def("linear_chunk", chunk_call);
    py::class_<shard>(m, "LinearShard")
        .def(py::init<const py::kwargs&>())
        .def("sum_up", &shard::sum_up)
        .def("finish", &shard::finish, py::kw_only(), "of_rows"_a, "labels"_a, "class_weight"_a, "again"_a);
    m.def("linear_unit", [](const py::array& x, int terms) { return unit_of(element_of_array(x, "x"), terms).unit; });
}

}  // namespace lossk
