// How near the register tiles of a linear layer come to the peak of their instruction, alone:
//
//     c++ -std=c++20 -O3 -march=native -Wno-psabi tools/tile_peak.cpp -o /tmp/tile_peak && /tmp/tile_peak
//
// prints for each unit that the instruction set has (-march=x86-64-v3, ... for another) what a loop without memory
// does, and the product of 256 x 1,024 by 1,024 x 4,096 whose operands are packed, as a share of that. Medians of
// rounds in turns, on one core.
#include "../src/cpp/drivers/linear/panels.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

using namespace lossk;

constexpr int rounds = 31;
constexpr lossk::index rows = 256, features = 1024, classes = 4096;

template <class F>
double seconds(F&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Products of registers alone: as many sums as a tile has hide their latency.
template <class U>
[[gnu::noinline]] float multiply_registers(const typename U::operand* p, lossk::index times) {
    constexpr int sums = U::rows * tile_registers;
    const auto a = U::broadcast(p), b = U::load(p);
    typename U::V sum[sums];
    unrolled<sums>([&](auto k) { sum[k] = splat<typename U::V>(static_cast<typename U::sum>(k)); });
    for (lossk::index i = 0; i < times; ++i) unrolled<sums>([&](auto k) { sum[k] = U::multiply(a, b, sum[k]); });
    unrolled<sums - 1>([&](auto k) { sum[0] += sum[k + 1]; });
    return static_cast<float>(sum[0][0]);
}

template <class U>
void report(const char* name) {
    using O = typename U::operand;
    using T = typename U::sum;
    constexpr lossk::index deep = linear_depth * U::depth, inner = deep / U::depth, parts = features / deep;
    constexpr lossk::index panels = rows / U::lanes, tiles = classes / U::rows, row = inner + 16;
    constexpr lossk::index block = linear_block / U::rows;  // tiles whose sums a block holds
    std::vector<O> a(static_cast<std::size_t>(tiles * parts * U::rows * row)),
        b(static_cast<std::size_t>(parts * panels * inner * U::lanes));
    std::vector<T> c(static_cast<std::size_t>(panels * block * U::rows * U::lanes));
    constexpr lossk::index times = 1 << 20;
    const double flops_of_step = 2.0 * U::rows * static_cast<double>(U::lanes) * U::depth;
    std::vector<double> peak, fraction;
    volatile float keep = 0;
    for (int r = 0; r < rounds; ++r) {
        const double alone = seconds([&] { keep = multiply_registers<U>(b.data(), times); });
        const double product = seconds([&] {
            for (lossk::index first = 0; first < tiles; first += block)
                for (lossk::index part = 0; part < parts; ++part)
                    for (lossk::index t = first; t < std::min(first + block, tiles); ++t)
                        for (lossk::index panel = 0; panel < panels; ++panel)
                            multiply_tile<U, row, 1, 16>(
                                {a.data() + (t * parts + part) * U::rows * row, 0,
                                 b.data() + (part * panels + panel) * inner * U::lanes, 1, inner},
                                c.data() + (panel * block + t - first) * U::rows * U::lanes, U::lanes, part > 0);
        });
        const double steps = static_cast<double>(tiles * panels * features / U::depth);
        peak.push_back(flops_of_step * times / alone / 1e9);
        fraction.push_back(alone / times / (product / steps));
    }
    std::nth_element(peak.begin(), peak.begin() + rounds / 2, peak.end());
    std::nth_element(fraction.begin(), fraction.begin() + rounds / 2, fraction.end());
    std::printf("%-12s registers %7.1f GFLOP/s, tiles %.3f of that\n", name, peak[rounds / 2], fraction[rounds / 2]);
}

int main() {
    report<fma_unit<float>>("FMA float32");
    report<fma_unit<double>>("FMA float64");
#if defined(__AVX512BF16__)
    report<bf16_unit>("AVX512-BF16");
#endif
}
