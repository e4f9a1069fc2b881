// Memory of large results and scratch, reused once it is released: its page faults would cost more than the kernels.
#include "pages.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>

namespace lossk {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t most_kept = 4;

// Oldest first; those behind the n-th are empty.
struct kept_pages {
    std::mutex mutex;
    std::array<pages, most_kept> list{};
    std::size_t n = 0;

    // Removes the i-th.
    pages take(std::size_t i) {
        const auto at = list.begin() + static_cast<std::ptrdiff_t>(i);
        std::rotate(at, at + 1, list.begin() + static_cast<std::ptrdiff_t>(n));
        return std::exchange(list[--n], pages{});
    }
};
// Never destroyed: results may outlive static objects at exit.
static_assert(std::is_trivially_destructible_v<kept_pages>);
kept_pages& kept() {
    static kept_pages all;
    // A child of fork must not find the lock taken by a thread that it does not have.
    static const int held_over_fork =
        pthread_atfork([] { all.mutex.lock(); }, [] { all.mutex.unlock(); }, [] { all.mutex.unlock(); });
    static_cast<void>(held_over_fork);
    return all;
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

void unmap(const pages& p) {
    if (p.start) munmap(p.start, p.bytes);
}

bool is_address_space_limited() {
    for (const auto what : {RLIMIT_AS, RLIMIT_DATA}) {
        rlimit limit{};
        if (getrlimit(what, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return true;
    }
    return false;
}

}  // namespace

pages take_pages(std::size_t bytes) {
    const std::size_t wanted = (bytes + huge_page - 1) / huge_page * huge_page;
    if (wanted < bytes) throw std::bad_alloc();
    {
        const std::lock_guard lock(kept().mutex);
        for (std::size_t i = 0; i < kept().n; ++i) {
            const pages& p = kept().list[i];
            if (p.bytes >= wanted && p.bytes <= wanted + wanted / 8) return kept().take(i);
        }
    }
    return map_pages(wanted);
}

void give_back(pages p) noexcept {
#if defined(MADV_FREE)
    if (is_address_space_limited()) {
        release_kept_pages();
    } else {
        madvise(p.start, p.bytes, MADV_FREE);
        const std::lock_guard lock(kept().mutex);
        const pages oldest = kept().n == most_kept ? kept().take(0) : pages{};
        kept().list[kept().n++] = p;
        p = oldest;
    }
#endif
    unmap(p);
}

void release_kept_pages() noexcept {
    const std::lock_guard lock(kept().mutex);
    while (kept().n > 0) unmap(kept().take(0));
}

}  // namespace lossk
