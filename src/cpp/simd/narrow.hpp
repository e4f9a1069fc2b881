// f16 and bf16 in memory, f32 in registers: conversions of a register and of a tile. Arithmetic is f32 throughout;
// widening is exact, narrowing rounds once, to nearest, ties to even.
#pragma once

#include "../base/types.hpp"
#include "vec.hpp"

namespace lossk {
namespace {

using word32 = std::uint32_t;
typedef word32 words32 __attribute__((vector_size(register_bytes)));
typedef std::uint16_t words16 __attribute__((vector_size(register_bytes / 2)));

// 16-bit words to 32 bits, and words below 2^16 back. (GCC 12 spells neither in one instruction by itself.)
inline words32 widen_words(words16 x) {
#if defined(__AVX512F__)
    return (words32)_mm512_cvtepu16_epi32((__m256i)x);
#elif defined(__AVX2__)
    return (words32)_mm256_cvtepu16_epi32((__m128i)x);
#else
    return __builtin_convertvector(x, words32);
#endif
}
inline words16 narrow_words(words32 x) {
#if defined(__AVX512F__)
    return (words16)_mm512_cvtepi32_epi16((__m512i)x);
#elif defined(__AVX2__)
    const __m256i packed = _mm256_packus_epi32((__m256i)x, (__m256i)x);  // within each half
    return (words16)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0b1000));
#else
    return __builtin_convertvector(x, words16);
#endif
}

inline words32 choose_words(words32 mask, words32 yes, words32 no) { return (mask & yes) | (~mask & no); }

// ---- bf16: the upper half of an f32 ---------------------------------------------------------------------------------

inline vec<float> widen_bf16(words16 x) { return (vec<float>)(widen_words(x) << 16); }

inline words16 narrow_bf16(vec<float> v) {
    const words32 b = (words32)v;
    const words32 rounded = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
    const words32 quiet = (b >> 16) | 0x40;
    const words32 is_nan = (words32)((b & 0x7fffffff) > 0x7f800000);
    return narrow_words(choose_words(is_nan, quiet, rounded));
}

// ---- f16: 5 bits of exponent, 10 of fraction ------------------------------------------------------------------------

inline vec<float> widen_f16(words16 x) {
#if defined(__AVX512F__)
    return _mm512_cvtph_ps((__m256i)x);
#elif defined(__F16C__)
    return _mm256_cvtph_ps((__m128i)x);
#else
    const words32 b = widen_words(x), magnitude = b & 0x7fff;
    // Moved to the place of an f32's exponent and fraction, the number is 2^112 times too small, subnormals included.
    const words32 finite = (words32)((vec<float>)(magnitude << 13) * 0x1p112f);
    const words32 special = (magnitude << 13) | 0x7f800000;
    return (vec<float>)(choose_words((words32)(magnitude >= 0x7c00), special, finite) | ((b & 0x8000) << 16));
#endif
}

inline words16 narrow_f16(vec<float> v) {
#if defined(__AVX512F__)
    return (words16)_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
#elif defined(__F16C__)
    return (words16)_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT);
#else
    const words32 b = (words32)v, a = b & 0x7fffffff;
    const words32 normal = (a - (word32{112} << 23) + 0xfff + ((a >> 13) & 1)) >> 13;
    // Below 2^-14 results are multiples of 2^-24, the unit of 1/2 + x: the addition rounds.
    const words32 subnormal = (words32)((vec<float>)a + 0.5f) - 0x3f000000;
    const words32 special = 0x7c00 | choose_words((words32)(a > 0x7f800000), 0x200 | ((a >> 13) & 0x3ff), words32{});
    const words32 finite = choose_words((words32)(a < 0x38800000), subnormal, normal);
    const words32 magnitude = choose_words((words32)(a >= 0x477ff000), special, finite);  // from 65520 on: infinity
    return narrow_words(magnitude | ((b >> 16) & 0x8000));
#endif
}

// ---- tiles ----------------------------------------------------------------------------------------------------------

// Calls convert(from, to) for every register of n elements; what is left at the end goes by way of full registers.
template <class From, class To, class F>
inline void convert_tile(const From* from, index n, To* to, F&& convert) {
    constexpr int L = lanes<vec<float>>;
    index i = 0;
    for (; i + L <= n; i += L) convert(from + i, to + i);
    if (i == n) return;
    From last_from[L]{};
    To last_to[L];
    const auto left = static_cast<std::size_t>(n - i);
    __builtin_memcpy(last_from, from + i, left * sizeof(From));
    convert(last_from, last_to);
    __builtin_memcpy(to + i, last_to, left * sizeof(To));
}

// Elements begin .. begin + n of an array in a narrow storage, as f32.
inline void widen_tile(storage kind, const void* from, index begin, index n, float* to) {
    const std::uint16_t* x = static_cast<const std::uint16_t*>(from) + begin;
    constexpr std::uintptr_t ahead = 4096;  // bytes: what tiles to come will need
    const auto load_words = [](const std::uint16_t* p) {
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(p) + ahead));
        words16 w;
        __builtin_memcpy(&w, p, sizeof w);
        return w;
    };
    if (kind == storage::bf16)
        convert_tile(x, n, to, [&](const std::uint16_t* p, float* q) { store(q, widen_bf16(load_words(p))); });
    else
        convert_tile(x, n, to, [&](const std::uint16_t* p, float* q) { store(q, widen_f16(load_words(p))); });
}

// n numbers to the elements begin .. begin + n of an array in a narrow storage, rounded once.
inline void narrow_tile(storage kind, const float* from, index n, void* to, index begin) {
    std::uint16_t* x = static_cast<std::uint16_t*>(to) + begin;
    const auto store_words = [](std::uint16_t* p, words16 w) { __builtin_memcpy(p, &w, sizeof w); };
    using V = vec<float>;
    if (kind == storage::bf16)
        convert_tile(from, n, x, [&](const float* p, std::uint16_t* q) { store_words(q, narrow_bf16(load<V>(p))); });
    else
        convert_tile(from, n, x, [&](const float* p, std::uint16_t* q) { store_words(q, narrow_f16(load<V>(p))); });
}

}  // namespace
}  // namespace lossk
