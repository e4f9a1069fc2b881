// Memory of large results, reused once they are released: its page faults would cost more than the kernels.
#include "pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <vector>

namespace lossk {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t most_kept = 4;

// Oldest first. Never destroyed: results may outlive static objects at exit.
std::vector<pages>& kept() {
    static auto& list = *new std::vector<pages>();
    return list;
}

pages map_pages(std::size_t bytes) {
    // One huge page more than asked for, so that there is an aligned start; what lies around it is returned at once.
    const std::size_t mapped = bytes + huge_page;
    void* const raw = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) throw std::bad_alloc();
    const auto begin = reinterpret_cast<std::uintptr_t>(raw);
    const std::uintptr_t start = (begin + huge_page - 1) / huge_page * huge_page;
    if (start > begin) munmap(raw, start - begin);
    if (begin + mapped > start + bytes) munmap(reinterpret_cast<void*>(start + bytes), begin + mapped - start - bytes);
#if defined(MADV_HUGEPAGE)
    madvise(reinterpret_cast<void*>(start), bytes, MADV_HUGEPAGE);
#endif
    return {reinterpret_cast<void*>(start), bytes};
}

}  // namespace

pages take_pages(std::size_t bytes) {
    const std::size_t wanted = (bytes + huge_page - 1) / huge_page * huge_page;
    const auto fits = std::find_if(kept().begin(), kept().end(),
                                   [&](const pages& p) { return p.bytes >= wanted && p.bytes <= wanted + wanted / 8; });
    if (fits == kept().end()) return map_pages(wanted);
    const pages found = *fits;
    kept().erase(fits);
    return found;
}

void give_back(pages p) {
#if defined(MADV_FREE)
    madvise(p.start, p.bytes, MADV_FREE);
    kept().push_back(p);
    if (kept().size() <= most_kept) return;
    p = kept().front();
    kept().erase(kept().begin());
#endif
    munmap(p.start, p.bytes);
}

}  // namespace lossk
