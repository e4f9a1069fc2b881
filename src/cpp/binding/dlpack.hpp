// The structs of DLPack's ABI: https://dmlc.github.io/dlpack/latest/c_api.html
#pragma once

#include <cstdint>

namespace lossk {

struct dl_device {
    std::int32_t type, id;
};
struct dl_type {
    std::uint8_t code, bits;
    std::uint16_t lanes;
};
struct dl_tensor {
    void* data;
    dl_device device;
    std::int32_t ndim;
    dl_type type;
    std::int64_t* shape;
    std::int64_t* strides;  // in elements; null: C-contiguous
    std::uint64_t byte_offset;
};
// Version 0.x, what a capsule "dltensor" holds.
struct dl_managed {
    dl_tensor tensor;
    void* context;
    void (*deleter)(dl_managed*);
};

// Version 1.x.
struct dl_version {
    std::uint32_t major, minor;
};
struct dl_versioned {
    dl_version version;
    void* context;
    void (*deleter)(dl_versioned*);
    std::uint64_t flags;
    dl_tensor tensor;
};
// What a library's class of tensors has as __dlpack_c_exchange_api__, in a capsule "dlpack_exchange_api". Functions
// return 0, or -1 with Python's error set.
struct dl_exchange {
    dl_version version;
    void* older;
    void* allocate;
    int (*own)(void* object, dl_versioned** tensor);
    int (*object_of)(dl_versioned* stolen, void** object);
    int (*look_at)(void* object, dl_tensor* tensor);
};

constexpr std::int32_t dl_cpu = 1;
constexpr std::uint8_t dl_int = 0, dl_uint = 1, dl_float = 2, dl_bfloat = 4;

}  // namespace lossk
