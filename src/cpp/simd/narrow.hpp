// f16 and bf16 in memory, f32 in registers: conversions of a register and of a tile. Arithmetic is f32 throughout;
// widening is exact, narrowing rounds once, to nearest, ties to even.
#pragma once

#include <cstddef>

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
    return (words16)_mm_packus_epi32(_mm256_castsi256_si128((__m256i)x), _mm256_extracti128_si256((__m256i)x, 1));
#else
    return __builtin_convertvector(x, words16);
#endif
}

inline words32 choose_words(words32 mask, words32 yes, words32 no) { return (mask & yes) | (~mask & no); }

// ---- bf16: the upper half of an f32 ---------------------------------------------------------------------------------

inline vec<float> widen_bf16(words16 x) { return (vec<float>)(widen_words(x) << 16); }

// Rounded to the upper half; the lower half is anything.
inline words32 round_bf16(vec<float> v) {
    const words32 b = (words32)v;
    const words32 rounded = b + (((b >> 16) & 1) + 0x7fff), quiet = b | 0x400000;
    return v != v ? quiet : rounded;
}
inline words16 narrow_bf16(vec<float> v) { return narrow_words(round_bf16(v) >> 16); }

// Of v, what is rounded to bf16, as an upper half; v becomes what that leaves. Three make up all 24 bits of an f32.
inline words32 take_bf16(vec<float>& v) {
    const words32 term = round_bf16(v) & 0xffff0000;
    v -= (vec<float>)term;
    return term;
}

// The upper halves of words: those of `low` moved to the lower halves, those of `high` where they are.
inline words32 join_words(words32 low, words32 high) {
#if defined(__AVX2__) && !defined(__AVX512F__)
    return (words32)_mm256_blend_epi16((__m256i)(low >> 16), (__m256i)high, 0b10101010);
#else
    return (low >> 16) | (high & 0xffff0000);
#endif
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

// ---- ue6m10: no sign, 6 bits of exponent, 10 of fraction; 0, and from 2^-63 to 2 ----------------------------------

constexpr word32 ue6m10_zero = 0x20000000;  // 2^-63, whose place 0 takes

inline vec<float> widen_ue6m10(words16 x) {
    const words32 w = widen_words(x);
    return (vec<float>)(((w << 13) + ue6m10_zero) & (words32)(w != 0));
}
inline words16 narrow_ue6m10(vec<float> v) {
    const words32 b = (words32)v, rounded = b + (((b >> 13) & 1) + 0xfff);
    const words32 code = (rounded - ue6m10_zero) >> 13 & 0xffff;
    return narrow_words(code & (words32)(b > ue6m10_zero));
}

// ---- in memory ------------------------------------------------------------------------------------------------------

// What arrays of 16 bits hold; load and store take them to f32 and back.
struct bf16 {
    std::uint16_t bits;
};
struct f16 {
    std::uint16_t bits;
};
struct ue6m10 {
    std::uint16_t bits;
};
inline vec<float> widen_register(words16 w, ue6m10) { return widen_ue6m10(w); }
inline words16 narrow_register(vec<float> v, ue6m10) { return narrow_ue6m10(v); }
inline vec<float> widen_register(words16 w, bf16) { return widen_bf16(w); }
inline vec<float> widen_register(words16 w, f16) { return widen_f16(w); }
inline words16 narrow_register(vec<float> v, bf16) { return narrow_bf16(v); }
inline words16 narrow_register(vec<float> v, f16) { return narrow_f16(v); }

template <class E>
concept narrow_element = sizeof(E) == 2;

// What elements E are computed with.
template <class E>
struct arithmetic_type {
    using type = E;
};
template <narrow_element E>
struct arithmetic_type<E> {
    using type = float;
};
template <class E>
using arithmetic = typename arithmetic_type<E>::type;

template <class V, narrow_element E>
inline V load(const E* p) {
    words16 w;
    __builtin_memcpy(&w, p, sizeof w);
    return widen_register(w, E());
}
template <narrow_element E>
inline void store(E* p, vec<float> v) {
    const words16 w = narrow_register(v, E());
    __builtin_memcpy(p, &w, sizeof w);
}
template <narrow_element E>
inline void store_streaming(E* p, vec<float> v) {
    store_streaming(static_cast<void*>(p), narrow_register(v, E()));
}
template <class V, narrow_element E>
inline V load_first(const E* p, int n, float fill) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    const auto mask = static_cast<__mmask16>((1u << n) - 1);
    const V v = widen_register((words16)_mm256_maskz_loadu_epi16(mask, p), E());
    return choose<V>(first_lanes<V>(n), v, splat<V>(fill));
#else
    E all[lanes<V>]{};
    __builtin_memcpy(all, p, static_cast<std::size_t>(n) * sizeof(E));
    return choose<V>(first_lanes<V>(n), load<V>(all), splat<V>(fill));
#endif
}
template <narrow_element E>
inline void store_first(E* p, vec<float> v, int n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1), (__m256i)narrow_register(v, E()));
#else
    E all[lanes<vec<float>>];
    store(all, v);
    __builtin_memcpy(p, all, static_cast<std::size_t>(n) * sizeof(E));
#endif
}

// As many registers as r has. Of bf16 two neighbours are a word: the first of them goes to the lower half of r, the
// second to the upper half, in one instruction each.
template <int n>
inline void load_group(const bf16* p, vec<float> (&r)[n]) {
    for (int k = 0; k < n / 2; ++k) {
        words32 w;
        __builtin_memcpy(&w, p + 2 * k * lanes<vec<float>>, sizeof w);
        r[k] = (vec<float>)(w << 16);
        r[k + n / 2] = (vec<float>)(w & 0xffff0000);
    }
}
template <store_kind how, int n>
inline void store_group(bf16* p, const vec<float> (&r)[n]) {
    for (int k = 0; k < n / 2; ++k)
        store_by<how>(p + 2 * k * lanes<vec<float>>, join_words(round_bf16(r[k]), round_bf16(r[k + n / 2])));
}
template <int n>
inline void load_group(const f16* p, vec<float> (&r)[n]) {
    for (int k = 0; k < n; ++k) r[k] = load<vec<float>>(p + k * lanes<vec<float>>);
}
template <store_kind how, int n>
inline void store_group(f16* p, const vec<float> (&r)[n]) {
    for (int k = 0; k < n; ++k) store_by<how>(p + k * lanes<vec<float>>, narrow_f16(r[k]));
}

// The same, with `how` known only at run time.
template <class E, int n>
inline void store_group_streaming(store_kind how, E* p, const vec<arithmetic<E>> (&r)[n]) {
    if (how == store_kind::streaming)
        store_group<store_kind::streaming>(p, r);
    else
        store_group<store_kind::streaming_by_16>(p, r);
}
template <class E, int n>
inline void store_group(store_kind how, E* p, const vec<arithmetic<E>> (&r)[n]) {
    if (how == store_kind::cached)
        store_group<store_kind::cached>(p, r);
    else
        store_group_streaming(how, p, r);
}

// ---- tiles ----------------------------------------------------------------------------------------------------------

template <class E>
[[gnu::noinline]] void widen_tile(const E* x, index n, float* to) {
    using V = vec<float>;
    constexpr int L = lanes<V>;
    constexpr std::uintptr_t ahead = 4096;  // bytes: what tiles to come will need
    index i = 0;
    for (; i + L <= n; i += L) {
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(x + i) + ahead));
        store(to + i, load<V>(x + i));
    }
    if (i < n) store_first(to + i, load_first<V>(x + i, static_cast<int>(n - i), 0), static_cast<int>(n - i));
}
template <class E>
[[gnu::noinline]] void narrow_tile(const float* from, index n, E* x) {
    using V = vec<float>;
    constexpr int L = lanes<V>;
    index i = 0;
    for (; i + L <= n; i += L) store(x + i, load<V>(from + i));
    if (i < n) store_first(x + i, load_first<V>(from + i, static_cast<int>(n - i), 0), static_cast<int>(n - i));
}

// Elements begin .. begin + n of an array in a narrow storage, as f32.
inline void widen_tile(storage kind, const void* from, index begin, index n, float* to) {
    kind == storage::bf16 ? widen_tile(static_cast<const bf16*>(from) + begin, n, to)
                          : widen_tile(static_cast<const f16*>(from) + begin, n, to);
}

// n numbers to the elements begin .. begin + n of an array in a narrow storage, rounded once.
inline void narrow_tile(storage kind, const float* from, index n, void* to, index begin) {
    kind == storage::bf16 ? narrow_tile(from, n, static_cast<bf16*>(to) + begin)
                          : narrow_tile(from, n, static_cast<f16*>(to) + begin);
}

}  // namespace
}  // namespace lossk
