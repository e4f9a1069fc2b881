// Runs every kernel of one ISA once, for callgrind to count its instructions: see instruction_counts.py.
//
// Each run is dumped under "kernel|element type|elements"; neither Python nor the binding is in it.
#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>

#include "../src/cpp/base/table.hpp"

namespace lossk {

extern const kernel_table table_base, table_x86_64_v3;

namespace {

using std::string;

constexpr index samples = 4099;       // a prime: there are always tails
constexpr index buffer_size = 65536;  // elements of the largest case
constexpr element f32 = element::f32, f64 = element::f64, bf16 = element::bf16;

const char* name_of(element type) { return type == f32 ? "f32" : type == f64 ? "f64" : "bf16"; }
element widened(element type) { return type == f64 ? f64 : f32; }

// ---- arrays, each at the start of a cache line --------------------------------------------------------------------

enum place { z_at, y_at, x_at, p_at, slots_at, g_at = slots_at + max_slots, h_at, scratch_at, places };
alignas(64) unsigned char memory[places][buffer_size * 8];
alignas(64) std::int64_t labels[samples], converted[samples];

// n numbers in (0, 1), where every formula is defined.
void* fresh_numbers(place at, element type, index n) {
    unsigned char* to = memory[at];
    for (index i = 0; i < n; ++i) {
        const double x = (0.5 + static_cast<double>(static_cast<std::uint32_t>(i + 1) * 2654435769u >> 16)) / 65536;
        const float narrow = static_cast<float>(x);
        if (type == f64) std::memcpy(to + 8 * i, &x, 8);
        if (type == f32) std::memcpy(to + 4 * i, &narrow, 4);
        if (type == bf16) std::memcpy(to + 2 * i, reinterpret_cast<const unsigned char*>(&narrow) + 2, 2);
    }
    return to;
}

// The same of a place that kernels only read: filled where it holds another type.
const void* numbers(place at, element type) {
    static bool filled[places];
    static element held[places];
    if (!filled[at] || held[at] != type) fresh_numbers(at, type, buffer_size);
    filled[at] = true;
    held[at] = type;
    return memory[at];
}

// Ones, which are in the domain of every target.
const void* ones(element type) {
    static float narrow[samples];
    static double wide[samples];
    for (index i = 0; i < samples; ++i) narrow[i] = 1, wide[i] = 1;
    return type == f64 ? static_cast<const void*>(wide) : narrow;
}

void label_rows(index classes) {
    for (index i = 0; i < samples; ++i) labels[i] = (7 * i) % classes;
}

// ---- counting -----------------------------------------------------------------------------------------------------

template <class F>
void count(const string& kernel, element type, index elements, F&& run) {
    const string label = kernel + "|" + name_of(type) + "|" + std::to_string(elements);
    CALLGRIND_ZERO_STATS;
    run();
    CALLGRIND_DUMP_STATS_AT(label.c_str());
}

template <class A>
void set_parameters(A& a) {
    for (double& p : a.parameters) p = 0.5;
}

// ---- families -----------------------------------------------------------------------------------------------------

void count_pointwise(const pointwise_entry& e, element type, verb what, bool streaming, const char* verb_name) {
    pointwise_args a{};
    a.z = numbers(z_at, type);
    a.y = numbers(y_at, type);
    a.x = numbers(x_at, widened(type));
    a.g = memory[g_at];
    a.h = memory[h_at];
    a.kind = storage_of(type);
    a.scale = 0.5;
    a.streaming = streaming;
    set_parameters(a);
    const pointwise_kernel kernel = e.kernel[arithmetic_of(type)][static_cast<int>(what)];
    count(string(e.name) + " " + verb_name, type, samples, [&] { kernel(a, 0, samples); });
    if (!e.domain.wanted || what != verb::value) return;
    a.y = ones(type);
    count(string(e.name) + " domain", type, samples, [&] { e.outside[arithmetic_of(type)](a, 0, samples); });
}

void count_pointwise(const kernel_table& t, element type) {
    for (int i = 0; i < t.pointwise_count; ++i) {
        const pointwise_entry& e = t.pointwise[i];
        count_pointwise(e, type, verb::value_and_grad, false, "value_and_grad");
        if (type != f32) continue;
        count_pointwise(e, type, verb::value, false, "value");
        count_pointwise(e, type, verb::grad_and_hess, false, "grad_and_hess");
        if (i == 0) count_pointwise(e, type, verb::value_and_grad, true, "value_and_grad, streamed");
    }
}

void count_rows(const rows_entry& e, element type) {
    constexpr index rows = 32, classes = 1021;
    const bool has_value = e.kernel[0][static_cast<int>(verb::value)];
    const verb what = has_value ? verb::value_and_grad : verb::grad;
    label_rows(classes);
    rows_args a{};
    a.z = numbers(z_at, type);
    a.classes = classes;
    a.label = e.target == row_target::labels ? labels : nullptr;
    a.target = e.target == row_target::labels ? nullptr : numbers(y_at, type);
    a.g = memory[g_at];
    a.kind = storage_of(type);
    a.scale = 0.5;
    set_parameters(a);
    const rows_kernel kernel = e.kernel[arithmetic_of(type)][static_cast<int>(what)];
    const char* verb_name = has_value ? " value_and_grad" : "";
    count(e.name + string(verb_name), type, rows * classes, [&] { kernel(a, 0, rows); });
}

void count_pairs(const pairs_entry& e, element type) {
    constexpr index rows = 32, length = 1021;
    constexpr place inputs[max_inputs] = {z_at, y_at, x_at}, gradients[max_inputs] = {g_at, h_at, scratch_at};
    pairs_args a{};
    for (int i = 0; i < e.inputs; ++i) {
        a.x[i] = numbers(inputs[i], type);
        a.g[i] = memory[gradients[i]];
    }
    a.length = e.single ? 1 : length;
    a.target = fresh_numbers(slots_at, widened(type), rows * length);
    a.kind = storage_of(type);
    a.scale = 0.5;
    set_parameters(a);
    const pairs_kernel kernel = e.kernel[arithmetic_of(type)];
    count(string(e.name) + " value_and_grad", type, rows * length,
          [&] { kernel(a, 0, e.single ? rows * length : rows); });
}

// Two samples of 31 labels, in 61 times of 31 classes; per state.
void count_ctc(const kernel_table& t, element type) {
    constexpr index times = 61, classes = 31, of_each = 31;
    static std::int64_t label[2 * of_each], first[] = {0, of_each, 2 * of_each}, length[] = {times, times};
    static double factor[] = {1, 1}, each[2];
    for (index i = 0; i < 2 * of_each; ++i) label[i] = 1 + i % (classes - 1);
    ctc_args a{};
    a.z = numbers(z_at, type);
    a.times = times;
    a.samples = 2;
    a.classes = classes;
    a.label = label;
    a.first = first;
    a.length = length;
    a.factor = factor;
    a.each = each;
    a.kind = storage_of(type);
    a.most_labels = of_each;
    a.scratch = memory[scratch_at];
    const ctc_kernel kernel = t.ctc[arithmetic_of(type)];
    for (const bool derives : {false, true}) {
        a.g = derives ? memory[g_at] : nullptr;
        count(derives ? "ctc value_and_grad" : "ctc value", type, 2 * times * (2 * of_each + 1),
              [&] { kernel(a, 0, 2); });
    }
}

// What one softmax call is asked for.
struct softmax_case {
    const char* name;
    row_output output;
    bool gradient, streaming, probabilities;
    double smoothing, softcap;
};
constexpr softmax_case softmax_cases[] = {
    {"cross_entropy value", row_output::loss, false, false, false, 0, 0},
    {"cross_entropy value_and_grad", row_output::loss, true, false, false, 0, 0},
    {"cross_entropy value_and_grad, streamed", row_output::loss, true, true, false, 0, 0},
    {"cross_entropy value_and_grad, smoothed", row_output::loss, true, false, false, 0.1, 0},
    {"cross_entropy value_and_grad, capped", row_output::loss, true, false, false, 0, 30},
    {"cross_entropy value_and_grad, probabilities", row_output::loss, true, false, true, 0, 0},
    {"softmax", row_output::softmax, true, false, false, 0, 0},
    {"log_softmax", row_output::log_softmax, true, false, false, 0, 0},
};

softmax_args softmax_arguments(const softmax_case& c, element type, index rows, index classes) {
    label_rows(classes);
    softmax_args a{};
    a.z = numbers(z_at, type);
    a.rows = rows;
    a.classes = a.row_classes = classes;
    a.row_chunks = softmax_chunks(classes);
    a.label = c.output == row_output::loss && !c.probabilities ? labels : nullptr;
    a.target = c.probabilities ? numbers(y_at, type) : nullptr;
    a.g = c.gradient ? memory[g_at] : nullptr;
    a.kind = storage_of(type);
    a.scale = c.output == row_output::loss ? 0.5 : 1.0;
    a.label_smoothing = c.smoothing;
    a.softcap = c.softcap;
    a.output = c.output;
    a.streaming = c.streaming;
    a.scratch = memory[scratch_at];
    a.scratch_stride = softmax_slot_bytes(classes, type == f64 ? 8 : 4, 2);
    return a;
}

void count_softmax(const kernel_table& t, const softmax_case& c, element type) {
    const softmax_entry& kernels = t.softmax[arithmetic_of(type)];
    struct shape {
        index rows, classes;
    };
    for (const auto [rows, classes] : {shape{512, 3}, shape{512, 10}, shape{16, 3001}}) {
        const bool short_rows = classes <= short_row_classes;
        if (short_rows && c.streaming) continue;
        const softmax_args a = softmax_arguments(c, type, rows, classes);
        const string of = " of " + std::to_string(classes);
        count(c.name + of, type, rows * classes,
              [&] { (short_rows ? kernels.short_rows : kernels.long_rows)(a, 0, rows); });
    }
}

// One row in chunks, as it is shared out where rows are few.
void count_split_softmax(const kernel_table& t, element type) {
    constexpr index classes = 50021, chunks = softmax_chunks(classes);
    const softmax_entry& kernels = t.softmax[arithmetic_of(type)];
    softmax_args a = softmax_arguments(softmax_cases[1], type, 1, classes);
    a.scratch_stride = softmax_scratch_bytes(classes, type == f64 ? 8 : 4, 2);
    count("cross_entropy value_and_grad, split", type, classes, [&] {
        kernels.reduce(a, {0, 1}, 0, chunks);
        kernels.normalise(a, 0, 1);
        kernels.write(a, {0, 1}, 0, chunks);
    });
}

void count_activation(const activation_entry& e, element type) {
    activation_args a{};
    a.x = numbers(z_at, type);
    a.c = numbers(y_at, type);
    a.out = memory[g_at];
    a.kind = storage_of(type);
    set_parameters(a);
    const activation_kernel* kernels = e.kernel[arithmetic_of(type)];
    count(string(e.name) + " value", type, samples, [&] { kernels[static_cast<int>(map::value)](a, 0, samples); });
    count(string(e.name) + " vjp", type, samples, [&] { kernels[static_cast<int>(map::vjp)](a, 0, samples); });
}

void count_gated(const gated_entry& e, element type) {
    gated_args a{};
    a.x = numbers(z_at, type);
    a.gate = numbers(x_at, type);
    a.out = memory[g_at];
    a.gate_out = memory[h_at];
    a.run = a.x_step = a.gate_step = a.gate_out_step = samples;
    a.gate_runs = 1;
    a.kind = storage_of(type);
    const gated_kernel kernel = e.kernel[arithmetic_of(type)];
    count(string(e.name) + " value", type, samples, [&] { kernel(a, 0, samples); });
    a.c = numbers(y_at, type);
    count(string(e.name) + " vjp", type, samples, [&] { kernel(a, 0, samples); });
}

void count_update(const update_entry& e, element type) {
    update_args a{};
    a.p = fresh_numbers(p_at, type, samples);
    a.g = numbers(y_at, type);
    a.kind = storage_of(type);
    a.scale = 0.5;
    for (int s = 0; s < e.slots; ++s)
        a.slot[s] = fresh_numbers(static_cast<place>(slots_at + s), widened(type), samples);
    set_parameters(a);
    if (e.norms[0]) {
        double squares[2];
        const auto first_pass = [&] { e.norms[arithmetic_of(type)](a, 0, samples, squares); };
        count(string(e.name) + " norms", type, samples, first_pass);
    }
    count(e.name, type, samples, [&] { e.kernel[arithmetic_of(type)](a, 0, samples); });
}

void count_unary(const unary_entry& e, element type) {
    const void* x = numbers(z_at, type);
    count(e.name, type, samples, [&] { e.kernel[arithmetic_of(type)](x, memory[g_at], samples); });
}

void count_norm(const kernel_table& t, element type) {
    void* x = fresh_numbers(p_at, type, samples);
    const storage kind = storage_of(type);
    count("sum_of_squares", type, samples, [&] { t.sum_of_squares[arithmetic_of(type)](kind, x, 0, samples); });
    count("scale", type, samples, [&] { t.scale[arithmetic_of(type)](kind, x, 0.5, 0, samples); });
}

void count_copies(const kernel_table& t, element type) {
    const storage kind = storage_of(type);
    if (kind == storage::same) return;
    float* wide = reinterpret_cast<float*>(memory[x_at]);
    const void* narrow = numbers(z_at, type);
    count("widen", type, samples, [&] { t.widen(kind, narrow, wide, 0, samples); });
    count("narrow", type, samples, [&] { t.narrow(kind, wide, memory[g_at], 0, samples); });
}

// The type is that of the labels' weights: there are none.
void count_labels(const kernel_table& t) {
    label_rows(1021);
    label_args a{};
    a.label = labels;
    a.classes = 1021;
    a.ignores = true;
    a.ignore_index = -100;
    const label_kernel kernel = t.label[static_cast<int>(integer::i64)][0];
    count("labels checked", f32, samples, [&] { kernel(a, 0, samples); });
    a.converted = converted;
    count("labels converted", f32, samples, [&] { kernel(a, 0, samples); });
}

void count_all(const kernel_table& t) {
    count_labels(t);
    for (const element type : {f32, f64, bf16}) {
        count_pointwise(t, type);
        for (int i = 0; i < t.rows_count; ++i) count_rows(t.rows[i], type);
        for (int i = 0; i < t.pairs_count; ++i) count_pairs(t.pairs[i], type);
        count_ctc(t, type);
        for (const softmax_case& c : softmax_cases)
            if (!(c.streaming && type == bf16)) count_softmax(t, c, type);
        count_split_softmax(t, type);
        for (int i = 0; i < t.activation_count; ++i) count_activation(t.activation[i], type);
        for (int i = 0; i < t.gated_count; ++i) count_gated(t.gated[i], type);
        for (int i = 0; i < t.update_count; ++i) count_update(t.update[i], type);
        count_norm(t, type);
        count_copies(t, type);
        if (type == bf16) continue;
        count("sum", type, samples, [&] { t.sum[arithmetic_of(type)](numbers(z_at, type), 0, samples); });
        for (int i = 0; i < t.unary_count; ++i) count_unary(t.unary[i], type);
    }
}

}  // namespace
}  // namespace lossk

// Exit codes: 0 counted, 2 no such table, 3 not on this CPU.
int main(int count, char** arguments) {
    const std::string isa = count == 2 ? arguments[1] : "";
    for (const lossk::kernel_table* t : {&lossk::table_base, &lossk::table_x86_64_v3}) {
        if (isa != t->isa) continue;
        if (t != &lossk::table_base && !__builtin_cpu_supports("x86-64-v3")) return 3;
        lossk::count_all(*t);
        return 0;
    }
    std::fprintf(stderr, "instruction_counts: got '%s', wanted 'base' or 'x86-64-v3'\n", isa.c_str());
    return 2;
}
