// Memory for large results and scratch, kept for the next call when it is let go of.
//
// The first write to a fresh page costs a page fault and its clearing: more than a kernel. So pages that come back are
// kept for whoever needs about as many next, and offered to the system meanwhile (MADV_FREE): it takes them when memory
// is short, and a page it has not taken costs nothing to write again. Where the process's address space is limited
// (ulimit -v), which kept pages count towards, none are kept.
#pragma once

#include <cstddef>

namespace lossk {

struct pages {
    void* start = nullptr;
    std::size_t bytes = 0;
};

// From here on memory is worth pages of its own.
constexpr std::size_t smallest_pages = std::size_t{4} << 20;

// At least `bytes`, aligned to a huge page, of undefined content; std::bad_alloc if there are none. Any thread may
// call.
pages take_pages(std::size_t bytes);
void give_back(pages p) noexcept;

// Returns what is kept to the system.
void release_kept_pages() noexcept;

}  // namespace lossk
