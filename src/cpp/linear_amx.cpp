// The linear layer by AMX's tile registers: an object of its own, for CPUs that have them.
#include "drivers/linear/amx.hpp"
#include "drivers/linear/dx.hpp"

namespace lossk {
namespace {

// Multiplies small integers, whose products and sums are exact, whatever their order.
bool multiplies_integers() {
    constexpr int rows = tiles::rows, lanes = tiles::columns, pairs = tiles::most_pairs;
    const auto number_of_a = [](int i, int k) { return (3 * i + 5 * k) % 17 - 8; };
    const auto number_of_b = [](int k, int j) { return (7 * k + 2 * j) % 13 - 6; };
    const auto pair = [](int first, int second) {
        word32 low, high;
        const float x = static_cast<float>(first), y = static_cast<float>(second);
        __builtin_memcpy(&low, &x, sizeof low);
        __builtin_memcpy(&high, &y, sizeof high);
        return (high & 0xffff0000u) | low >> 16;
    };
    alignas(line_bytes) word32 a[rows][pairs], b[pairs][lanes];
    alignas(line_bytes) float c[rows][lanes];
    for (int k = 0; k < pairs; ++k) {
        for (int i = 0; i < rows; ++i) a[i][k] = pair(number_of_a(i, 2 * k), number_of_a(i, 2 * k + 1));
        for (int j = 0; j < lanes; ++j) b[k][j] = pair(number_of_b(2 * k, j), number_of_b(2 * k + 1, j));
    }
    {
        const tiles::session open(pairs);
        multiply_tile<amx_unit<1>, pairs, 1, pairs>({a[0], 0, b[0], 1, pairs}, c[0], lanes, false);
    }
    for (int i = 0; i < rows; ++i)
        for (int j = 0; j < lanes; ++j) {
            int sum = 0;
            for (int k = 0; k < 2 * pairs; ++k) sum += number_of_a(i, k) * number_of_b(k, j);
            if (c[i][j] != static_cast<float>(sum)) return false;
        }
    return true;
}

}  // namespace

// By the terms of a number.
extern const linear_kernels table_linear_amx[linear_most_terms];
constexpr linear_kernels table_linear_amx[] = {
    linear_kernels_of<amx_unit<1>>("AMX-BF16", multiplies_integers),
    linear_kernels_of<amx_unit<2>>("AMX-BF16, 3 products", multiplies_integers),
    linear_kernels_of<amx_unit<3>>("AMX-BF16, 6 products", multiplies_integers),
};

}  // namespace lossk
