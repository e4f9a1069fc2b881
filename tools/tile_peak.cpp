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

// The product, by blocks of classes as a linear layer has them.
template <class U>
struct packed_product {
    using O = typename U::operand;
    using T = typename U::sum;
    static constexpr lossk::index deep = linear_depth * U::depth, inner = deep / U::depth, parts = features / deep;
    static constexpr lossk::index panels = rows / U::lanes, tiles = classes / U::rows, row = inner + 16;
    static constexpr lossk::index block = linear_block / U::rows;  // tiles
    static_assert(classes % U::rows == 0 && features % deep == 0);

    std::unique_ptr<O[], free_memory> a = packed<O>(parts * U::rows * row),
                                      b = packed<O>(parts * panels * inner * U::lanes);
    std::unique_ptr<T[], free_memory> c = packed<T>(panels * block * U::rows * U::lanes);

    static constexpr double steps() { return static_cast<double>(tiles * panels * features / U::depth); }
    void multiply_block(lossk::index some) const {
        for (lossk::index part = 0; part < parts; ++part)
            for (lossk::index t = 0; t < some; ++t)
                for (lossk::index panel = 0; panel < panels; ++panel)
                    multiply_tile<U, row, 1, 16>({a.get() + part * U::rows * row, 0,
                                                  b.get() + (part * panels + panel) * inner * U::lanes, 1, inner},
                                                 c.get() + (panel * block + t) * U::rows * U::lanes, U::lanes,
                                                 part > 0);
    }
    void multiply() const {
        for (lossk::index first = 0; first < tiles; first += block) multiply_block(std::min(block, tiles - first));
    }
};

double median(std::vector<double> of) {
    std::nth_element(of.begin(), of.begin() + rounds / 2, of.end());
    return of[rounds / 2];
}

template <class U>
void report(const char* name) {
    constexpr lossk::index times = 1 << 20;
    const packed_product<U> product;
    std::vector<double> peak, fraction;
    volatile float keep = 0;
    for (int r = 0; r < rounds; ++r) {
        const double alone = seconds([&] { keep = multiply_registers<U>(product.b.get(), times); }) / times;
        peak.push_back(2.0 * U::rows * static_cast<double>(U::lanes) * U::depth / alone / 1e9);
        fraction.push_back(alone * product.steps() / seconds([&] { product.multiply(); }));
    }
    std::printf("%-12s registers %7.1f GFLOP/s, tiles %.3f of that\n", name, median(peak), median(fraction));
}

int main() {
    report<fma_unit<float>>("FMA float32");
    report<fma_unit<double>>("FMA float64");
#if defined(__AVX512BF16__)
    report<bf16_unit>("AVX512-BF16");
#endif
}
