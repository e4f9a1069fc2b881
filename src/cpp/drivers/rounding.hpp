// Stochastic rounding to 16 bits: up or down at random, so that the expected result is the number itself.
#pragma once

#include "../base/types.hpp"
#include "../simd/narrow.hpp"
#include "memory.hpp"

namespace lossk {
namespace {

// 64 well mixed bits of two words (a round of splitmix64).
inline std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = (a ^ b) + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// 32 random bits a lane, for elements at `place`, 0 <= place < 2^32, under a key: a hash, no state. (A walk through all
// words that begins where the key says, and Murmur3's finalizer with the other half of the key in its midst.)
inline words32 random_bits(std::uint64_t key, word32 place) {
    words32 x;
    for (int i = 0; i < lanes<vec<float>>; ++i) x[i] = static_cast<word32>(i);
    x = (x + place) * 0x9e3779b9u + static_cast<word32>(key);
    x = (x ^ (x >> 16)) * 0x85ebca6bu ^ static_cast<word32>(key >> 32);
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return x ^ (x >> 16);
}

// A neighbour of x in bf16: what is cut off is at least what was added with the probability of its share of a unit.
inline vec<float> dither_bf16(vec<float> x, words32 random) {
    const words32 b = ((words32)x + (random >> 16)) & 0xffff0000;
    return choose<vec<float>>(x == x, (vec<float>)b, x);
}

// The same in f16, where numbers below 2^-14 are multiples of 2^-24; there the probability is exact to 2^-13.
inline vec<float> dither_f16(vec<float> x, words32 random) {
    using V = vec<float>;
    const V magnitude = abs(x), normal = (V)(((words32)magnitude + (random >> 19)) & 0xffffe000);
    const V up = __builtin_convertvector((bits<V>)(random >> 19), V) * 0x1p-13f;
    const V units = min(0x1p-14f, magnitude) * 0x1p24f + up;
    const V subnormal = __builtin_convertvector(__builtin_convertvector(units, bits<V>), V) * 0x1p-24f;
    const V dithered = copysign(choose<V>(magnitude < 0x1p-14f, subnormal, normal), x);
    return choose<V>(x == x, dithered, x);
}

// The key of a tensor's step.
inline std::uint64_t rounding_key(const update_args& a) { return mixed(mixed(mixed(a.seed, 0), a.tensor), a.step); }

// Moves n numbers, a tile that begins at element `begin` of its tensor, to neighbours that the storage can hold.
inline void dither_tile(storage kind, float* x, index begin, index n, std::uint64_t key) {
    using V = vec<float>;
    const std::uint64_t own = mixed(key, static_cast<std::uint64_t>(begin));
    each_register<V>(n, [&](index i, auto reach) {
        const words32 random = random_bits(own, static_cast<word32>(i));
        const V v = reach.load(x + i);
        reach.store(x + i, kind == storage::bf16 ? dither_bf16(v, random) : dither_f16(v, random));
    });
}

}  // namespace
}  // namespace lossk
