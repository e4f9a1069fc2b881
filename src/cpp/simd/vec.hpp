// vec<T>: one SIMD register of f32 or f64 lanes, and the few operations the compiler does not spell by itself.
//
// vec<T> is a GCC/Clang vector type, so + - * / < == & | ?: work lane by lane and a formula reads like its
// mathematics. Everything in this folder has internal linkage: the same source is compiled once per ISA.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace lossk {
namespace {

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX2__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

// x86-64 without AVX2, as CPUs were before 2013: one general loop in place of several special ones, for shorter builds.
#if defined(__x86_64__) && !defined(__AVX2__)
constexpr bool compact = true;
#else
constexpr bool compact = false;
#endif

// clang-format off
template <class T> struct vec_type { typedef T type __attribute__((vector_size(register_bytes))); };
template <class T> using vec = typename vec_type<T>::type;

template <class T> struct bits_type;
template <> struct bits_type<float> { using type = std::int32_t; using wrapping = std::uint32_t; };
template <> struct bits_type<double> { using type = std::int64_t; using wrapping = std::uint64_t; };

// What belongs to a vector type V: its element, its lane count, and the integer vector of the same shape, which is
// also what a comparison yields (all ones where true).
template <class V> struct lane;
template <> struct lane<vec<float>> { using type = float; };
template <> struct lane<vec<double>> { using type = double; };
// clang-format on
template <class V>
using lane_t = typename lane<V>::type;
template <class V>
using bits = vec<typename bits_type<lane_t<V>>::type>;
// The same, unsigned: for arithmetic on what may be any number, which wraps.
template <class V>
using unsigned_bits = vec<typename bits_type<lane_t<V>>::wrapping>;
template <class V>
constexpr int lanes = register_bytes / static_cast<int>(sizeof(lane_t<V>));

// All lanes equal to x. (Subtracting zero keeps -0 and NaN; adding it would not.)
template <class V>
inline V splat(lane_t<V> x) {
    return x - V{};
}

// ---- memory -------------------------------------------------------------------------------------------------

template <class V>
inline V load(const lane_t<V>* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

template <class V>
inline void store(lane_t<V>* p, V v) {
    __builtin_memcpy(p, &v, sizeof v);
}

// load and store, in two halves where a register has 64 bytes. On Zen 5, beside arithmetic and other misses, an access
// of 64 bytes that misses L1 takes longer than two of 32: cross-entropy of 8,192 x 1,000 is 1.13 times as fast so, by
// one thread, and .97 times where all is in L2. Zen 4 stores 64 bytes in two halves by itself.
template <class V>
inline V load_by_halves(const lane_t<V>* p) {
#if defined(__AVX512F__)
    const float* const from = reinterpret_cast<const float*>(p);
    return (V)_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(from)), _mm256_loadu_ps(from + 8), 1);
#else
    return load<V>(p);
#endif
}
template <class V>
inline void store_by_halves(lane_t<V>* p, V v) {
#if defined(__AVX512F__)
    float* const to = reinterpret_cast<float*>(p);
    _mm256_storeu_ps(to, _mm512_castps512_ps256((__m512)v));
    _mm256_storeu_ps(to + 8, _mm512_extractf32x8_ps((__m512)v, 1));
#else
    store(p, v);
#endif
}

// As many registers as r has, in order.
template <class V, int n>
inline void load_group(const lane_t<V>* p, V (&r)[n]) {
    for (int k = 0; k < n; ++k) r[k] = load<V>(p + k * lanes<V>);
}

// 0, 1, 2, ...
template <class V>
inline bits<V> lane_numbers() {
    bits<V> at;
    for (int i = 0; i < lanes<V>; ++i) at[i] = i;
    return at;
}

// All ones in the first n lanes; in lane n alone, counted from 0, if there is one.
template <class V>
inline bits<V> first_lanes(int n) {
    return lane_numbers<V>() < static_cast<typename bits_type<lane_t<V>>::type>(n);
}
template <class V>
inline bits<V> only_lane(int n) {
    return lane_numbers<V>() == static_cast<typename bits_type<lane_t<V>>::type>(n);
}

// The first n lanes from memory, 0 <= n <= lanes; `fill` in the others. Never reads past p[n - 1].
template <class V>
inline V load_first(const lane_t<V>* p, int n, lane_t<V> fill) {
    V v = splat<V>(fill);
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_t<V>) == 4)
        v = (V)_mm512_mask_loadu_ps((__m512)v, static_cast<__mmask16>((1u << n) - 1), p);
    else
        v = (V)_mm512_mask_loadu_pd((__m512d)v, static_cast<__mmask8>((1u << n) - 1), p);
#elif defined(__AVX2__)
    const bits<V> mask = first_lanes<V>(n);
    if constexpr (sizeof(lane_t<V>) == 4)
        v = mask ? (V)_mm256_maskload_ps(p, (__m256i)mask) : v;
    else
        v = mask ? (V)_mm256_maskload_pd(p, (__m256i)mask) : v;
#else
    for (int i = 0; i < n; ++i) v[i] = p[i];
#endif
    return v;
}

// The first n lanes to memory. Never writes past p[n - 1].
template <class V>
inline void store_first(lane_t<V>* p, V v, int n) {
#if defined(__AVX512F__)
    if constexpr (sizeof(lane_t<V>) == 4)
        _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
    else
        _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
    if constexpr (sizeof(lane_t<V>) == 4)
        _mm256_maskstore_ps(p, (__m256i)first_lanes<V>(n), (__m256)v);
    else
        _mm256_maskstore_pd(p, (__m256i)first_lanes<V>(n), (__m256d)v);
#else
    for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// Streaming (non-temporal) stores; p is aligned to what is stored. Pair with stream_fence() before other threads read.
template <class W>
inline void store_streaming(void* p, W w) {
#if defined(__AVX512F__)
    if constexpr (sizeof w == 64) return _mm512_stream_si512(static_cast<__m512i*>(p), (__m512i)w);
#endif
#if defined(__AVX2__)
    if constexpr (sizeof w == 32) return _mm256_stream_si256(static_cast<__m256i*>(p), (__m256i)w);
#endif
#if defined(__x86_64__)
    if constexpr (sizeof w == 16) return _mm_stream_si128(static_cast<__m128i*>(p), (__m128i)w);
#endif
    __builtin_memcpy(p, &w, sizeof w);
}

// The same for an address that is aligned to 16 bytes only, as those of large NumPy arrays are.
template <class W>
inline void store_streaming_by_16(void* p, W w) {
    char* const to = static_cast<char*>(p);
#if defined(__AVX512F__)
    if constexpr (sizeof w == 64) {
        store_streaming(to, _mm512_extracti32x4_epi32((__m512i)w, 0));
        store_streaming(to + 16, _mm512_extracti32x4_epi32((__m512i)w, 1));
        store_streaming(to + 32, _mm512_extracti32x4_epi32((__m512i)w, 2));
        return store_streaming(to + 48, _mm512_extracti32x4_epi32((__m512i)w, 3));
    }
#endif
#if defined(__AVX2__)
    if constexpr (sizeof w == 32) {
        store_streaming(to, _mm256_castsi256_si128((__m256i)w));
        return store_streaming(to + 16, _mm256_extracti128_si256((__m256i)w, 1));
    }
#endif
    store_streaming(to, w);
}

inline void stream_fence() {
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

// How registers are left in memory.
enum class store_kind { cached, streaming, streaming_by_16 };

template <store_kind how, class W>
inline void store_by(void* p, W w) {
    if constexpr (how == store_kind::cached)
        __builtin_memcpy(p, &w, sizeof w);
    else if constexpr (how == store_kind::streaming)
        store_streaming(p, w);
    else
        store_streaming_by_16(p, w);
}

template <store_kind how, class V, int n>
inline void store_group(lane_t<V>* p, const V (&r)[n]) {
    for (int k = 0; k < n; ++k) store_by<how>(p + k * lanes<V>, r[k]);
}

// ---- arithmetic ---------------------------------------------------------------------------------------------

// a*b + c, rounded once where the ISA has it (everywhere but the x86-64 baseline, where it is rounded twice).
inline vec<float> fma(vec<float> a, vec<float> b, vec<float> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}
inline vec<double> fma(vec<double> a, vec<double> b, vec<double> c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f64(c, a, b);
#else
    return a * b + c;
#endif
}
template <class V>
inline V fma(V a, lane_t<V> b, V c) {
    return fma(a, splat<V>(b), c);
}
template <class V>
inline V fma(V a, V b, lane_t<V> c) {
    return fma(a, b, splat<V>(c));
}
template <class V>
inline V fma(V a, lane_t<V> b, lane_t<V> c) {
    return fma(a, splat<V>(b), splat<V>(c));
}

// The larger (smaller) of two; where either is NaN, b. So max(bound, x) lets a NaN in x through.
inline vec<float> max(vec<float> a, vec<float> b) {
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#elif defined(__x86_64__)
    return _mm_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}
inline vec<double> max(vec<double> a, vec<double> b) {
#if defined(__AVX512F__)
    return _mm512_max_pd(a, b);
#elif defined(__AVX2__)
    return _mm256_max_pd(a, b);
#elif defined(__x86_64__)
    return _mm_max_pd(a, b);
#else
    return a > b ? a : b;
#endif
}
inline vec<float> min(vec<float> a, vec<float> b) {
#if defined(__AVX512F__)
    return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_min_ps(a, b);
#elif defined(__x86_64__)
    return _mm_min_ps(a, b);
#else
    return a < b ? a : b;
#endif
}
inline vec<double> min(vec<double> a, vec<double> b) {
#if defined(__AVX512F__)
    return _mm512_min_pd(a, b);
#elif defined(__AVX2__)
    return _mm256_min_pd(a, b);
#elif defined(__x86_64__)
    return _mm_min_pd(a, b);
#else
    return a < b ? a : b;
#endif
}
template <class V>
inline V max(lane_t<V> a, V b) {
    return max(splat<V>(a), b);
}
template <class V>
inline V min(lane_t<V> a, V b) {
    return min(splat<V>(a), b);
}

inline vec<float> sqrt(vec<float> a) {
#if defined(__AVX512F__)
    return _mm512_sqrt_ps(a);
#elif defined(__AVX2__)
    return _mm256_sqrt_ps(a);
#elif defined(__x86_64__)
    return _mm_sqrt_ps(a);
#else
    return vsqrtq_f32(a);
#endif
}
inline vec<double> sqrt(vec<double> a) {
#if defined(__AVX512F__)
    return _mm512_sqrt_pd(a);
#elif defined(__AVX2__)
    return _mm256_sqrt_pd(a);
#elif defined(__x86_64__)
    return _mm_sqrt_pd(a);
#else
    return vsqrtq_f64(a);
#endif
}

// ---- bits ---------------------------------------------------------------------------------------------------

template <class V>
inline bits<V> as_bits(V v) {
    return (bits<V>)v;
}
template <class V>
inline V from_bits(bits<V> b) {
    return (V)b;
}
template <class V>
inline V abs(V v) {
    return (V)(as_bits(v) & ~as_bits(splat<V>(lane_t<V>(-0.0))));
}
// table[at mod 8], lane by lane.
inline bits<vec<float>> look_up(const std::uint32_t (&table)[8], bits<vec<float>> at) {
#if defined(__AVX512F__)
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
    return (bits<vec<float>>)_mm512_permutexvar_epi32((__m512i)at, _mm512_broadcast_i64x4(half));
#elif defined(__AVX2__)
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(table));
    return (bits<vec<float>>)_mm256_permutevar8x32_epi32(all, (__m256i)at);
#elif defined(__aarch64__)
    const uint8x16x2_t bytes = vld1q_u8_x2(reinterpret_cast<const std::uint8_t*>(table));
    return (bits<vec<float>>)vqtbl2q_u8(bytes, (uint8x16_t)((at & 7) * 0x04040404 + 0x03020100));
#else
    for (int i = 0; i < lanes<vec<float>>; ++i) at[i] = static_cast<std::int32_t>(table[at[i] & 7]);
    return at;
#endif
}
// |magnitude| with the sign of `sign`.
template <class V>
inline V copysign(V magnitude, V sign) {
    const bits<V> sign_bit = as_bits(splat<V>(lane_t<V>(-0.0)));
    return (V)((as_bits(magnitude) & ~sign_bit) | (as_bits(sign) & sign_bit));
}
// The lanes of a, then those of b, picked by their numbers.
template <int... lane, class V>
inline V shuffle(V a, V b) {
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
    return __builtin_shuffle(a, b, bits<V>{lane...});
#else
    return __builtin_shufflevector(a, b, lane...);
#endif
}
// -1, 0 or 1; NaN where v is.
template <class V>
inline V sign(V v) {
    return ((v < lane_t<V>(0)) | (v > lane_t<V>(0))) ? copysign(splat<V>(1), v) : v;
}
// v where the mask is set, 0 elsewhere: one `and`, also for NaN and infinity.
template <class V>
inline V keep(bits<V> mask, V v) {
    return (V)(mask & as_bits(v));
}
// Is any lane of the mask set?
template <class V>
inline bool any(bits<V> mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_epi8((__m256i)mask) != 0;
#elif defined(__x86_64__)
    return _mm_movemask_epi8((__m128i)mask) != 0;
#else
    return vmaxvq_u32((uint32x4_t)mask) != 0;
#endif
}
template <class V>
inline V choose(bits<V> mask, V yes, V no) {
    return mask ? yes : no;
}

// ---- widening -----------------------------------------------------------------------------------------------

struct halves {
    vec<double> low, high;
};
// The lanes of v in double precision, in order.
inline halves widen(vec<float> v) {
#if defined(__AVX512F__)
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
#elif defined(__AVX2__)
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(v)), _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
#else
    typedef float half __attribute__((vector_size(register_bytes / 2)));
    half part[2];
    __builtin_memcpy(part, &v, sizeof v);
    return {__builtin_convertvector(part[0], vec<double>), __builtin_convertvector(part[1], vec<double>)};
#endif
}

}  // namespace
}  // namespace lossk
