// The constants of exp.hpp, log.hpp and math.hpp; tools/coefficients.py makes, and checks, the tables.
#pragma once

#include "vec.hpp"

namespace lossk {
namespace {

// to_integer  1.5 * 2^fraction_bits: floats have unit spacing there, so adding it rounds to an integer, and the low
//             bits of the sum hold that integer.
// up          scales any subnormal number to a normal one.
// exp_zero, exp_inf, expm1_minus_one   the functions are 0, infinity, -1 there and beyond.
// flush_zero  nearest to -bias * ln 2: see exp_flush.
// ln2_hi      ends in zero bits, so its product with any exponent is exact; ln2_lo is the rest of ln 2.
template <class T>
struct constants;

// clang-format off
template <>
struct constants<float> {
    using word = std::uint32_t;
    static constexpr int fraction_bits = 23;
    static constexpr int bias = 127;
    static constexpr float to_integer = 0x1.8p23f;
    static constexpr float smallest_normal = 0x1p-126f;
    static constexpr float up = 0x1p64f;
    static constexpr int up_exponent = 64;
    static constexpr float exp_zero = -104, exp_inf = 89, flush_zero = -88.03f, expm1_minus_one = -18;
    static constexpr float log2e = 0x1.715476p+0f;
    static constexpr float ln2_hi = 0x1.62e4p-1f;
    static constexpr float ln2_lo = 0x1.7f7d1cp-20f;
    // exp(r) = 1 + r + r^2 poly(r), |r| <= ln(2)/2; error 0.053 * 2^-24
    static constexpr float exp_poly[] = {0x1.fffffcp-2f, 0x1.55548cp-3f, 0x1.555858p-5f, 0x1.123ddep-7f,
        0x1.6ac722p-10f};
    // 2^f = 1 + f poly(f), |f| <= 1/16; error 0.43 * 2^-24
    static constexpr float quick_poly[] = {0x1.62e432p-1f, 0x1.ec0c6ap-3f, 0x1.c67d78p-5f};
    // The bits of 2^(i/8), less those of 1 and less i << 20.
    static constexpr word eighths[] = {0x0, 0xfffb95c2, 0xfff837f0, 0xfff5fed7, 0xfff504f3, 0xfff5672a, 0xfff744fd,
        0xfffac0c7};
    // log((1+s)/(1-s)) = 2s + s^3 poly(s^2), s^2 <= 1/24; error 0.056 * 2^-24
    static constexpr float log_poly[] = {0x1.5555cp-1f, 0x1.99216p-2f, 0x1.37b098p-2f};
    // the same, 0 <= s <= 1/3; error 0.077 * 2^-24
    static constexpr float unit_poly[] = {0x1.5555p-1f, 0x1.99d29ep-2f, 0x1.1eb3a2p-2f, 0x1.1f0578p-2f};
    // tanh(x) = x + x^3 (poly(x^2) - 1/4), |x| <= 1; error 0.078 * 2^-24
    static constexpr float tanh_poly[] = {-0x1.5554fp-4f, 0x1.110be4p-3f, -0x1.b9623ap-5f, 0x1.6009a6p-6f,
        -0x1.045ff6p-7f, 0x1.2da034p-9f, -0x1.77cdc6p-12f};
    // x - tanh(x) = x^3 poly(x^2), |x| <= 1; error 0.5 * 2^-24
    static constexpr float shrink_poly[] = {0x1.555556p-2f, -0x1.11117cp-3f, 0x1.ba3142p-5f, -0x1.670fdep-6f,
        0x1.24b3dp-7f, -0x1.cfe2fap-9f, 0x1.2fa9dp-10f, -0x1.b4decap-13f};
    // Phi(-a) = exp(-a^2 / 2) t poly(t), t = 1 / (a + 4), 0 <= a <= 38.5; error 0.32 * 2^-24
    static constexpr float mills_poly[] = {0x1.988472p-2f, 0x1.98832ep+0f, 0x1.7edb56p+2f, 0x1.4e9854p+4f,
        0x1.dd422cp+5f, 0x1.0f2f4ap+8f, -0x1.2ad2f8p+9f, 0x1.9c7222p+12f, -0x1.57242ap+14f, 0x1.4f3f7p+14f};
};

template <>
struct constants<double> {
    using word = std::uint64_t;
    static constexpr int fraction_bits = 52;
    static constexpr int bias = 1023;
    static constexpr double to_integer = 0x1.8p52;
    static constexpr double smallest_normal = 0x1p-1022;
    static constexpr double up = 0x1p512;
    static constexpr int up_exponent = 512;
    static constexpr double exp_zero = -746, exp_inf = 710, flush_zero = -709.09, expm1_minus_one = -38;
    static constexpr double log2e = 0x1.71547652b82fep+0;
    static constexpr double ln2_hi = 0x1.62e42fefa4p-1;
    static constexpr double ln2_lo = -0x1.8432a1b0e2634p-43;
    // exp(r) = 1 + r + r^2 poly(r), |r| <= ln(2)/2; error 0.034 * 2^-53
    static constexpr double exp_poly[] = {0x1.000000000000ap-1, 0x1.5555555555502p-3, 0x1.55555555505ffp-5,
        0x1.1111111125199p-7, 0x1.6c16c184b7ecdp-10, 0x1.a01a013bbdc7p-13, 0x1.a0199883b020dp-16, 0x1.71def754613d9p-19,
        0x1.28aee5b8b637p-22, 0x1.add3d6fb64cb5p-26};
    // log((1+s)/(1-s)) = 2s + s^3 poly(s^2), s^2 <= 1/24; error 0.0018 * 2^-53
    static constexpr double log_poly[] = {0x1.555555555554dp-1, 0x1.999999999ccfbp-2, 0x1.2492492138741p-2,
        0x1.c71c7524c0558p-3, 0x1.745c28c018ff5p-3, 0x1.3b3a013701eb4p-3, 0x1.0d85c2ee58af1p-3, 0x1.1d4f658eff83ep-3};
    // the same, 0 <= s <= 1/3; error 0.012 * 2^-53
    static constexpr double unit_poly[] = {0x1.5555555555535p-1, 0x1.99999999a0787p-2, 0x1.2492492089ffp-2,
        0x1.c71c741db3fbap-3, 0x1.745cb3d3d202ap-3, 0x1.3b1ddef914c33p-3, 0x1.10679a07e7275p-3, 0x1.efdab7a75610ep-4,
        0x1.55a799a5d481ep-4, 0x1.5c80978fac033p-3};
    // tanh(x) = x + x^3 (poly(x^2) - 1/4), |x| <= 1; error 0.11 * 2^-53
    static constexpr double tanh_poly[] = {-0x1.555555555543dp-4, 0x1.111111110d80fp-3, -0x1.ba1ba1b8116a7p-5,
        0x1.664f4836ba7cbp-6, -0x1.226e2ec0cbd61p-7, 0x1.d6d310115e6ffp-9, -0x1.7d9bccbe8e0dp-10, 0x1.3521403176406p-11,
        -0x1.f336900c8f458p-13, 0x1.8d7bb50b60313p-14, -0x1.2eb5869d2d8b3p-15, 0x1.9e153a2203f68p-17,
        -0x1.caeee71caa226p-19, 0x1.5f51f2c4c842fp-21, -0x1.0d3312ed538b2p-24};
    // x - tanh(x) = x^3 poly(x^2), |x| <= 1; error 0.5 * 2^-53
    static constexpr double shrink_poly[] = {0x1.5555555555555p-2, -0x1.1111111110fd9p-3, 0x1.ba1ba1ba03ddcp-5,
        -0x1.664f487d033cap-6, 0x1.226e34a35fd16p-7, -0x1.d6d3b3ff50712p-9, 0x1.7da1ec24b9288p-10,
        -0x1.354ada70d6298p-11, 0x1.f4d0b983010d4p-13, -0x1.9344dcae4e98p-14, 0x1.3e01e564ea654p-15,
        -0x1.d89f770fc0f0fp-17, 0x1.34535ca858dcap-18, -0x1.3d7e3176bda3ep-20, 0x1.b8432ef7ba67p-23,
        -0x1.2a70822d8e4c9p-26};
    // Phi(-a) = exp(-a^2 / 2) t poly(t), t = 1 / (a + 4), 0 <= a <= 38.5; error 0.18 * 2^-53
    static constexpr double mills_poly[] = {0x1.9884533d6eb63p-2, 0x1.98845330b1776p+0, 0x1.7efc0fb698fbcp+2,
        0x1.4beb60a899feap+4, 0x1.041e34fddfed9p+6, 0x1.621a12e940f07p+7, 0x1.81e24b972c7dfp+8, 0x1.99e823a4635d5p+8,
        0x1.681cf20808be9p+8, -0x1.7dfa061e8233cp+14, 0x1.6d010be51d9afp+17, -0x1.d8d7ef22fddap+20,
        0x1.a27df19712dd5p+23, -0x1.fb3db0ddf27b2p+25, 0x1.5cc97f32f0f9ep+27, 0x1.2e0dc83b0de09p+28,
        -0x1.77e577dfd1f93p+32, 0x1.fb43e996102d2p+34, -0x1.95e2052ab9dc3p+36, 0x1.a6dd2f00e8518p+37,
        -0x1.1c2c8267602dfp+38, 0x1.c3a6e459b56b4p+37, -0x1.44a975b7a1afap+36};
};
// clang-format on

// sum c[k] x^k by Horner's rule: one fma a coefficient.
template <class V, int N>
inline V polynomial(V x, const lane_t<V> (&c)[N]) {
    V sum = splat<V>(c[N - 1]);
    for (int k = N - 2; k >= 0; --k) sum = fma(sum, x, c[k]);
    return sum;
}

}  // namespace
}  // namespace lossk
