// The linear layer by the CPU's unit for pairs of bf16: an object of its own, as not all CPUs of x86-64-v4 have it.
#include "drivers/linear/dx.hpp"

namespace lossk {

extern const linear_kernels table_linear_bf16;
constexpr linear_kernels table_linear_bf16 = linear_kernels_of<bf16_unit>("AVX512-BF16");

}  // namespace lossk
