// The process's allocations, which fail from the n-th on; for test_failing_malloc.py, which loads this before all else.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

extern "C" {

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

std::atomic<long> until_failure{0};
std::atomic<std::size_t> smallest{1};

// From the n-th on allocations of at least so many bytes fail; 0: none does. Returns the n before, less the
// allocations since then, at least 1.
long fail_allocation(long n, std::size_t bytes) {
    smallest = bytes;
    return until_failure.exchange(n);
}

static bool fails(std::size_t bytes) {
    if (bytes < smallest || until_failure <= 0) return false;
    if (until_failure > 1) {
        --until_failure;
        return false;
    }
    errno = ENOMEM;
    return true;
}

void* malloc(std::size_t n) { return fails(n) ? nullptr : __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t each) { return fails(n * each) ? nullptr : __libc_calloc(n, each); }
void* realloc(void* p, std::size_t n) { return fails(n) ? nullptr : __libc_realloc(p, n); }
void* aligned_alloc(std::size_t line, std::size_t n) { return fails(n) ? nullptr : __libc_memalign(line, n); }
void* memalign(std::size_t line, std::size_t n) { return fails(n) ? nullptr : __libc_memalign(line, n); }
int posix_memalign(void** p, std::size_t line, std::size_t n) {
    if (fails(n)) return ENOMEM;
    *p = __libc_memalign(line, n);
    return *p ? 0 : ENOMEM;
}
void* mmap(void* at, std::size_t n, int protection, int flags, int file, off_t offset) {
    if (file < 0 && fails(n)) return MAP_FAILED;
    return reinterpret_cast<void*>(syscall(SYS_mmap, at, n, protection, flags, file, offset));
}

}  // extern "C"
