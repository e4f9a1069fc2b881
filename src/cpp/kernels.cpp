// All kernels, compiled once per ISA: LOSSK_TABLE and LOSSK_ISA name the one symbol that this object exports.
#include "base/table.hpp"
#include "registry.hpp"

namespace lossk {
namespace {

template <class A, int n>
constexpr int count(const A (&)[n]) {
    return n;
}

template <class I>
constexpr void fill(label_kernel (&of)[element_count]) {
    of[0] = labels<I, float>;
    of[1] = labels<I, double>;
}

template <class T>
constexpr softmax_entry softmax_rows() {
    return {softmax_short_rows<T>, softmax_long_rows<T>, softmax_reduce<T>, softmax_normalise<T>, softmax_write<T>};
}

constexpr linear_kernels linear_f32 = linear_kernels_of<fma_unit<float>>("FMA");
constexpr linear_kernels linear_f64 = linear_kernels_of<fma_unit<double>>("FMA");

int register_width() { return register_bytes; }

constexpr kernel_table make_table() {
    kernel_table t{};
    t.isa = LOSSK_ISA;
    t.register_width = register_width;
    t.pointwise = pointwise_losses;
    t.pointwise_count = count(pointwise_losses);
    t.rows = row_formulas;
    t.rows_count = count(row_formulas);
    t.pairs = pair_losses;
    t.pairs_count = count(pair_losses);
    t.activation = activations;
    t.activation_count = count(activations);
    t.gated = gated_activations;
    t.gated_count = count(gated_activations);
    t.update = optimizers;
    t.update_count = count(optimizers);
    t.unary = functions;
    t.unary_count = count(functions);
    t.softmax[0] = softmax_rows<float>();
    t.softmax[1] = softmax_rows<double>();
    t.linear[0] = &linear_f32;
    t.linear[1] = &linear_f64;
    t.ctc[0] = ctc<float>;
    t.ctc[1] = ctc<double>;
    fill<std::int8_t>(t.label[0]);
    fill<std::uint8_t>(t.label[1]);
    fill<std::int16_t>(t.label[2]);
    fill<std::uint16_t>(t.label[3]);
    fill<std::int32_t>(t.label[4]);
    fill<std::uint32_t>(t.label[5]);
    fill<std::int64_t>(t.label[6]);
    fill<std::uint64_t>(t.label[7]);
    t.sum[0] = sum<float>;
    t.sum[1] = sum<double>;
    t.known_weight[0] = known_weight<float>;
    t.known_weight[1] = known_weight<double>;
    t.below_0[0] = first_row_outside<probabilities<float>, float>;
    t.below_0[1] = first_row_outside<probabilities<double>, double>;
    t.sum_of_squares[0] = sum_of_squares<float>;
    t.sum_of_squares[1] = sum_of_squares<double>;
    t.scale[0] = scale<float>;
    t.scale[1] = scale<double>;
    t.widen = widen_elements;
    t.narrow = narrow_elements;
    t.twin = twin;
    return t;
}

}  // namespace

extern const kernel_table LOSSK_TABLE;
constexpr kernel_table LOSSK_TABLE = make_table();

}  // namespace lossk
