// The linear layer's passes by a model of AMX's tiles, for CPUs that have none: one chunk of rows, one thread, as
// src/cpp/binding/linear.cpp runs them. All memory is NaN before, and followed by bytes that have to stay.
#define LOSSK_TILE_MODEL
#include "linear_amx.cpp"

#include <algorithm>
#include <cstring>
#include <memory>

namespace lossk {
namespace {

constexpr index guard = 4096;
constexpr char nan_byte = '\xff', guard_byte = '\x5a';

struct guarded {
    const index bytes;
    const std::unique_ptr<char[]> held{new char[static_cast<std::size_t>(bytes + guard + line_bytes)]};
    char* const start = held.get() + (line_bytes - reinterpret_cast<std::uintptr_t>(held.get()) % line_bytes);

    explicit guarded(index n) : bytes(n) {
        std::memset(start, nan_byte, static_cast<std::size_t>(bytes));
        std::memset(start + bytes, guard_byte, guard);
    }
    bool is_intact() const {
        return std::all_of(start + bytes, start + bytes + guard, [](char c) { return c == guard_byte; });
    }
};

}  // namespace
}  // namespace lossk

using lossk::linear_kernels, lossk::linear_layout, lossk::linear_block, lossk::linear_rows;
using length = lossk::index;

extern "C" bool multiplies_right() { return lossk::table_linear_amx[0].is_right(); }

// Logits (rows, classes) of f32 inputs that are sums of so many bf16.
extern "C" void logits(int terms, const float* x, const float* w, length rows, length features, length classes,
                       float* z) {
    const linear_kernels& unit = lossk::table_linear_amx[terms - 1];
    const linear_layout l = lossk::linear_layout_of(unit.shape, rows, features, classes, false);
    const lossk::guarded memory(l.end), scratch(lossk::linear_scratch(unit.shape));
    const std::unique_ptr<std::int64_t[]> elsewhere(new std::int64_t[static_cast<std::size_t>(rows)]);
    std::fill_n(elsewhere.get(), rows, classes);
    lossk::linear_args a{};
    a.x = x, a.w = w, a.rows = rows, a.features = features, a.classes = a.row_classes = a.window = classes;
    a.label = elsewhere.get(), a.memory = memory.start, a.scratch = scratch.start;
    unit.pack(a, 0, l.rows / linear_rows);
    unit.logits(a, 0, l.blocks);
    const auto* const panels = reinterpret_cast<const float*>(memory.start + l.z);
    const length lanes = unit.shape.lanes;
    for (length row = 0; row < rows; ++row)
        for (length c = 0; c < classes; ++c)
            z[row * classes + c] = panels[(row / lanes * l.classes + c) * lanes + row % lanes];
}

// Returns whether memory past what was asked for is intact.
extern "C" bool run(int terms, const void* x, const void* w, const void* bias, int kind, length rows, length features,
                    length classes, const std::int64_t* label, const double* options, double scale, double filter_eps,
                    length window, float* each, void* dx, void* dw, int dw_kind, double* dbias, double* loss) {
    const linear_kernels& unit = lossk::table_linear_amx[terms - 1];
    const linear_layout l = lossk::linear_layout_of(unit.shape, rows, features, window, dx != nullptr);
    const lossk::guarded memory(l.end), scratch(lossk::linear_scratch(unit.shape));
    lossk::linear_args a{};
    a.x = x, a.w = w, a.bias = bias, a.kind = static_cast<lossk::storage>(kind);
    a.rows = rows, a.features = features, a.classes = a.row_classes = classes, a.label = label, a.dx_kind = a.kind;
    a.label_smoothing = options[0], a.z_loss = options[1], a.softcap = options[2];
    a.class_weight_sum = static_cast<double>(classes), a.scale = scale, a.filter_eps = filter_eps;
    a.each = each, a.dx = dx, a.dbias = dbias, a.dw_kind = static_cast<lossk::storage>(dw_kind), a.first = true;
    if (dw) a.dw[0] = {0, classes, dw};
    a.window = window, a.memory = memory.start, a.scratch = scratch.start;

    const length groups = l.rows / linear_rows, tiles = (features + unit.shape.tile_rows - 1) / unit.shape.tile_rows;
    const auto blocks = [&] { return (std::min(window, classes - a.begin) + linear_block - 1) / linear_block; };
    unit.pack(a, 0, groups);
    a.sums = true;
    for (a.begin = 0; a.begin < classes; a.begin += window) {
        unit.logits(a, 0, blocks());
        unit.merge(a, 0, groups);
    }
    *loss = unit.normalise(a);
    a.sums = false;
    for (a.begin = 0; dx && a.begin < classes; a.begin += window) {
        if (window < classes) unit.logits(a, 0, blocks());
        unit.dz_and_dw(a, 0, blocks());
        unit.dx(a, 0, tiles);
    }
    if (dx) unit.give_dx(a, 0, groups);
    return memory.is_intact() && scratch.is_intact();
}
