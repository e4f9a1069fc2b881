// How near the register tiles of a linear layer come to the peak of their multiply-add instruction:
//
//     c++ -std=c++20 -O3 -march=native -fno-ipa-cp -fno-ipa-sra -Wno-psabi tools/tile_peak.cpp -o tile_peak &&
//     ./tile_peak
//
// For each register unit of the instruction set (-march=x86-64-v3 chooses another; AMX is not among them) it prints the
// GFLOP/s of a loop that touches no memory, and the share of it that the product 256 x 1,024 by 1,024 x 4,092 reaches.
// Operands are packed and in the caches: panels of the right side, and one tile of the left, which all tiles share, as
// a linear layer brings each into L1 beforehand. One thread; medians of rounds that alternate between the two.
#include "../src/cpp/drivers/linear/tile.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

using namespace lossk;

constexpr int rounds = 31;
constexpr lossk::index rows = 256, features = 1024, classes = 4092;

template <class F>
double seconds(F&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct free_memory {
    void operator()(void* p) const { std::free(p); }
};
// Zeros that begin at a cache line, as in a chunk's memory.
template <class T>
std::unique_ptr<T[], free_memory> packed(lossk::index n) {
    const auto bytes = static_cast<std::size_t>(linear_up(n * lossk::index{sizeof(T)}, line_bytes));
    T* const p = static_cast<T*>(std::aligned_alloc(line_bytes, bytes));
    std::memset(p, 0, bytes);
    return std::unique_ptr<T[], free_memory>(p);
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
    static_assert(classes % U::rows == 0 && features % deep == 0);
    const auto a = packed<O>(parts * U::rows * row), b = packed<O>(parts * panels * inner * U::lanes);
    const auto c = packed<T>(panels * block * U::rows * U::lanes);
    constexpr lossk::index times = 1 << 20;
    const double flops_of_step = 2.0 * U::rows * static_cast<double>(U::lanes) * U::depth;
    std::vector<double> peak, fraction;
    volatile float keep = 0;
    for (int r = 0; r < rounds; ++r) {
        const double alone = seconds([&] { keep = multiply_registers<U>(b.get(), times); });
        const double product = seconds([&] {
            for (lossk::index first = 0; first < tiles; first += block)
                for (lossk::index part = 0; part < parts; ++part)
                    for (lossk::index t = first; t < std::min(first + block, tiles); ++t)
                        for (lossk::index panel = 0; panel < panels; ++panel)
                            multiply_tile<U, row, 1, 16>(
                                {a.get() + part * U::rows * row, 0,
                                 b.get() + (part * panels + panel) * inner * U::lanes, 1, inner},
                                c.get() + (panel * block + t - first) * U::rows * U::lanes, U::lanes, part > 0);
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
