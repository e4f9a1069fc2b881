// The register tile of matrix products: rows x lanes sums in registers, an operand of depth at a time.
//
// c[i][j] (+)= sum over k of a[i][k] b[k][j]: a number of `a` is broadcast, a row of a panel of `b` fills two
// registers. Sums begin at 0 for every product and are added to c at its end, so their bits depend on the depth of a
// product alone, not on the width of registers.
#pragma once

#include "../../base/linear.hpp"
#include "../memory.hpp"
#include "../../simd/unroll.hpp"

namespace lossk {
namespace {

constexpr int tile_registers = 2;

// What units in registers share.
struct register_tile {
#if defined(__AVX512F__) || defined(__aarch64__)
    static constexpr int rows = 12;  // 24 of 32 registers hold sums
#else
    static constexpr int rows = 6;  // 12 of 16
#endif
    static constexpr index filtered = 12;  // classes that filter_eps may leave out: the same for all of these
    static constexpr bool in_registers = true;
    static constexpr index terms = 1;
    // What is open while a thread multiplies by steps of so many operands.
    struct session {
        explicit session(index) {}
    };
};

// Multiplies numbers of type T and adds them up in it.
template <class T>
struct fma_unit : register_tile {
    using sum = T;
    using operand = T;  // what is broadcast: `depth` neighbours in k
    using V = vec<T>;
    static constexpr int depth = 1;
    static constexpr index lanes = tile_registers * lossk::lanes<V>;
    static V load(const operand* p) { return lossk::load<V>(p); }
    static V broadcast(const operand* p) { return splat<V>(*p); }
    static V multiply(V a, V b, V c) { return fma(a, b, c); }
};

#if defined(__AVX512BF16__)
// Multiplies pairs of bf16, and adds them up in f32, flushing denormals.
struct bf16_unit : register_tile {
    using sum = float;
    using operand = word32;
    using V = vec<float>;
    static constexpr int depth = 2;
    static constexpr index lanes = tile_registers * lossk::lanes<V>;
    static words32 load(const operand* p) {
        words32 w;
        __builtin_memcpy(&w, p, sizeof w);
        return w;
    }
    static words32 broadcast(const operand* p) { return *p - words32{}; }
    static V multiply(words32 a, words32 b, V c) { return _mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b); }
};
#endif

// Operands of a product. Its depth is cut into `steps` of `inner` operands: those of b follow each other, those of a
// are a_step apart. Where a number is the sum of several terms, these are a_plane and b_plane apart. Steps for which
// `counts` is 0 are left out.
template <class U>
struct tile_operands {
    using operand = typename U::operand;
    const operand* a;
    index a_step;
    const operand* b;
    index steps, inner;
    index a_plane = 0, b_plane = 0;
    const std::uint8_t* counts = nullptr;
    index counts_stride = 0, steps_per_count = 1;
};

// Row i of c begins at c + i c_stride; operand k of row i of a at a + i a_row + k a_inner. Units in registers do not
// need to know how many operands a session takes at once.
template <class U, int a_row, int a_inner, int at_once>
    requires U::in_registers
[[gnu::noinline]] void multiply_tile(const tile_operands<U>& of, typename U::sum* c, index c_stride, bool adds) {
    using V = typename U::V;
    constexpr int R = tile_registers, L = lanes<V>;
    // What c has was last used a block of classes ago, or never: its lines come into L1 while the product is computed.
    constexpr int lines = (R * register_bytes + line_bytes - 1) / line_bytes;
    unrolled<U::rows>(
        [&](auto i) { unrolled<lines>([&](auto n) { prefetch_to_l1(c + i * c_stride, n * (U::lanes / lines)); }); });
    V sum[U::rows][R];
    unrolled<U::rows>([&](auto i) { unrolled<R>([&](auto r) { sum[i][r] = V{}; }); });
    const auto* b = of.b;
    for (index step = 0; step < of.steps; ++step) {
        if (of.counts && !of.counts[step / of.steps_per_count * of.counts_stride]) {
            b += of.inner * U::lanes;
            continue;
        }
        const auto* a = of.a + step * of.a_step;
        for (index k = 0; k < of.inner; ++k, b += U::lanes, a += a_inner) {
            const auto b0 = U::load(b), b1 = U::load(b + L);
            unrolled<U::rows>([&](auto i) {
                const auto x = U::broadcast(a + i * a_row);
                sum[i][0] = U::multiply(x, b0, sum[i][0]);
                sum[i][1] = U::multiply(x, b1, sum[i][1]);
            });
        }
    }
    unrolled<U::rows>([&](auto i) {
        unrolled<R>([&](auto r) {
            auto* const to = c + i * c_stride + r * L;
            store(to, adds ? load<V>(to) + sum[i][r] : sum[i][r]);
        });
    });
}

}  // namespace
}  // namespace lossk
