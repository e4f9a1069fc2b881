// Bandwidth twins: the streams of a kernel without its arithmetic, the yardstick of every benchmark.
#pragma once

#include "memory.hpp"

namespace lossk {
namespace {

// What is left of a register, of any streams.
[[gnu::noinline]] inline float twin_rest(const twin_args& a, index begin, index end) {
    float sum = 0;
    for (index i = begin; i < end; ++i) {
        float v = 0;
        for (int r = 0; r < a.reads; ++r) v += static_cast<const float*>(a.read[r])[i];
        for (int w = 0; w < a.writes; ++w) static_cast<float*>(a.write[w])[i] = v;
        sum += v;
    }
    return sum;
}

// In f32 registers: every written register is the sum of what was read at the same place.
template <int reads, int writes, bool streaming>
float twin_streams(const twin_args& a, index begin, index end) {
    using V = vec<float>;
    constexpr int L = lanes<V>, K = writes > 0 ? 1 : 128 / register_bytes;
    const float* from[max_reads];
    float* to[max_writes];
    for (int r = 0; r < reads; ++r) from[r] = static_cast<const float*>(a.read[r]);
    for (int w = 0; w < writes; ++w) to[w] = static_cast<float*>(a.write[w]);
    V checksum[K]{};
    index i = begin;
    for (; i + K * L <= end; i += K * L)
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) {
            V v{};
            for (int r = 0; r < reads; ++r) v += load<V>(from[r] + i + k * L);
            for (int w = 0; w < writes; ++w)
                streaming ? store_streaming(to[w] + i + k * L, v) : store(to[w] + i + k * L, v);
            if constexpr (writes == 0) checksum[k] += v;
        }
    float sum = twin_rest(a, i, end);
    if constexpr (streaming) stream_fence();
    for (int k = 0; k < K; ++k) sum += checksum[k][0];
    return sum;
}

template <int reads, int writes>
float twin_kind(const twin_args& a, index begin, index end) {
    return a.streaming ? twin_streams<reads, writes, true>(a, begin, end)
                       : twin_streams<reads, writes, false>(a, begin, end);
}

inline float twin(const twin_args& a, index begin, index end) {
    static constexpr twin_kernel kinds[max_reads + 1][max_writes + 1] = {
        {twin_kind<0, 0>, twin_kind<0, 1>, twin_kind<0, 2>, twin_kind<0, 3>},
        {twin_kind<1, 0>, twin_kind<1, 1>, twin_kind<1, 2>, twin_kind<1, 3>},
        {twin_kind<2, 0>, twin_kind<2, 1>, twin_kind<2, 2>, twin_kind<2, 3>},
        {twin_kind<3, 0>, twin_kind<3, 1>, twin_kind<3, 2>, twin_kind<3, 3>},
        {twin_kind<4, 0>, twin_kind<4, 1>, twin_kind<4, 2>, twin_kind<4, 3>},
    };
    return kinds[a.reads][a.writes](a, begin, end);
}

}  // namespace
}  // namespace lossk
