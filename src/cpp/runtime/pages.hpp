// Memory for large results, kept for the next result when Python lets go of it.
//
// The first write to a fresh page costs a page fault and its clearing: more than a kernel. So pages that come back are
// kept for the next result of about their size, and offered to the system meanwhile (MADV_FREE): it takes them when
// memory is short, and a page it has not taken costs nothing to write again.
#pragma once

#include <cstddef>

namespace lossk {

struct pages {
    void* start;
    std::size_t bytes;
};

// From here on a result is worth pages of its own.
constexpr std::size_t smallest_pages = std::size_t{4} << 20;

// At least `bytes`, aligned to a huge page, of undefined content; std::bad_alloc if there are none.
// Both functions belong to threads that hold the interpreter lock.
pages take_pages(std::size_t bytes);
void give_back(pages p);

}  // namespace lossk
