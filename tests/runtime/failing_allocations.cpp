// Calls of parallel_for in which the k-th allocation fails, each followed by one without failures; for
// test_engines.py.
#include "parallel.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> until_failure{0};

bool all_items_done(int threads) {
    constexpr lossk::index items = 1000;
    std::atomic<lossk::index> done{0};
    try {
        lossk::parallel_for(items, threads, [&](lossk::index begin, lossk::index end) {
            usleep(20);
            done += end - begin;
        });
    } catch (const std::bad_alloc&) {
        return false;
    }
    return done == items;
}

}  // namespace

void* operator new(std::size_t n) {
    if (until_failure > 0 && --until_failure == 0) throw std::bad_alloc();
    return std::malloc(n);
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
    return until_failure > 0 && --until_failure == 0 ? nullptr : std::malloc(n);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

int main() {
    int calls = 0, complete = 0;
    for (long k = 1; k <= 20; ++k) {
        until_failure = k;
        complete += all_items_done(6);
        until_failure = 0;
        complete += all_items_done(4);
        calls += 2;
    }
    std::printf("%d calls, %d of them done\n", calls, complete);
    std::fflush(stdout);
    _exit(0);  // helpers sleep until the process ends
}
