// Arrays copied between 16 bits and f32.
#pragma once

#include "../simd/narrow.hpp"

namespace lossk {
namespace {

inline void widen_elements(storage kind, const void* from, float* to, index begin, index end) {
    widen_tile(kind, from, begin, end - begin, to + begin);
}

inline void narrow_elements(storage kind, const float* from, void* to, index begin, index end) {
    narrow_tile(kind, from + begin, end - begin, to, begin);
}

}  // namespace
}  // namespace lossk
