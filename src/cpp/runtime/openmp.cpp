// Runs work on OpenMP's threads: the only place with a pragma. The library is libgomp under its plain name, so the
// loader gives one library, and one pool of threads, to this module and to PyTorch, whichever comes first.
#include "openmp.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(LOSSK_OPENMP)
#include <link.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>
#endif

namespace lossk {
namespace {

engine engine_from_environment() {
    const char* const asked = std::getenv("LOSSK_THREADS_BY");
    const std::string name = asked ? asked : "";
    if (name.empty() || name == "auto") return engine::automatic;
    if (name == "team") return engine::team;
#if defined(LOSSK_OPENMP)
    if (name == "openmp") return engine::openmp;
    throw std::invalid_argument("LOSSK_THREADS_BY: got '" + name + "', wanted 'auto', 'openmp' or 'team'");
#else
    throw std::invalid_argument("LOSSK_THREADS_BY: got '" + name + "', wanted 'auto' or 'team' (built without OpenMP)");
#endif
}

}  // namespace

engine engine_of_process() {
    static const engine asked = engine_from_environment();
    return asked;
}

#if defined(LOSSK_OPENMP)

namespace {

// Does a loaded object name our OpenMP library among those it needs? A copy under another name is another pool.
bool needs_openmp(const dl_phdr_info& object) {
    for (int i = 0; i < object.dlpi_phnum; ++i) {
        if (object.dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        const auto* const entries = reinterpret_cast<const ElfW(Dyn)*>(object.dlpi_addr + object.dlpi_phdr[i].p_vaddr);
        const char* names = nullptr;
        for (const auto* e = entries; e->d_tag != DT_NULL; ++e)
            if (e->d_tag == DT_STRTAB)  // an address, or where loaders leave it alone, an offset
                names = reinterpret_cast<const char*>(
                    e->d_un.d_ptr < object.dlpi_addr ? object.dlpi_addr + e->d_un.d_ptr : e->d_un.d_ptr);
        for (const auto* e = entries; names && e->d_tag != DT_NULL; ++e)
            if (e->d_tag == DT_NEEDED && std::strcmp(names + e->d_un.d_val, "libgomp.so.1") == 0) return true;
    }
    return false;
}

// Do other libraries than this module share the pool? They may be loaded at any time; asking the loader whether
// anything was takes .1 us, so calls look every now and then. Of the main thread alone.
class pool_users {
    static constexpr unsigned every = 64;
    unsigned calls_ = 0;
    unsigned long long loads_seen_ = 0, loads_ = 0;
    int users_ = 0;

    static int look_at(dl_phdr_info* object, std::size_t, void* data) {
        pool_users& self = *static_cast<pool_users*>(data);
        self.loads_ = object->dlpi_adds;
        if (self.loads_ == self.loads_seen_) return 1;
        self.users_ += needs_openmp(*object);
        return 0;
    }

public:
    bool others() {
        if (users_ > 1 || calls_++ % every != 0) return users_ > 1;
        const int before = users_;
        users_ = 0;
        if (dl_iterate_phdr(look_at, this) != 0) users_ = before;
        loads_seen_ = loads_;
        return users_ > 1;
    }
};

bool is_main_thread() {
    static thread_local const bool is_main = getpid() == syscall(SYS_gettid);
    return is_main;
}

// Kernels take some 50 KB of stack, which OpenMP's threads have unless the user says otherwise.
bool has_default_stacks() {
    static const bool usual = !std::getenv("OMP_STACKSIZE") && !std::getenv("GOMP_STACKSIZE");
    return usual;
}

// libgomp ends the process where it cannot start a thread, so wherever a pool has to grow, a trial comes first: are so
// many threads to be had at once?
bool can_start(int threads) {
    std::vector<std::thread> started;
    std::atomic<bool> enough{false};
    bool all = true;
    try {
        started.reserve(static_cast<std::size_t>(threads));
        while (static_cast<int>(started.size()) < threads) started.emplace_back([&] { enough.wait(false); });
    } catch (const std::exception&) {
        all = false;
    }
    enough = true;
    enough.notify_all();
    for (std::thread& t : started) t.join();
    return all;
}

using clock = std::chrono::steady_clock;

// A region ends when all threads have come. Where another library's threads, which spin as well, keep them from their
// cores, the calling thread has done everything and waits, for milliseconds: then calls go to the team for a while,
// twice as long each time. Of the main thread alone. Linux sets these: waking a thread that sleeps takes 5 to 50 us, a
// thread without a core waits for the end of another's time slice, 3 to 5 ms, and a pause of ten to a hundred times
// that makes little of what trying again costs.
class lateness {
    static constexpr auto patience = std::chrono::microseconds(50);
    static constexpr std::chrono::milliseconds shortest{50}, longest{500};
    std::chrono::milliseconds next_ = shortest;
    clock::time_point until_{};

public:
    bool advises_against() const { return clock::now() < until_; }
    void note(clock::time_point start, clock::time_point through, clock::time_point end) {
        const auto waited = end - through;
        const bool late = waited > patience && waited > (end - start) / 8;
        if (late) until_ = end + next_;
        next_ = late ? std::min(2 * next_, longest) : shortest;
    }
};

struct main_thread_state {
    pool_users users;
    lateness late;
};
main_thread_state& of_main_thread() {
    static main_thread_state state;
    return state;
}

}  // namespace

bool run_on_openmp(int threads, void (*work)(void*), void* context) {
    const engine by = engine_of_process();
    if (by == engine::team || !has_default_stacks()) return false;
    int size = threads;
    if (by == engine::automatic) {
        if (!is_main_thread() || omp_in_parallel() || of_main_thread().late.advises_against()) return false;
        if (of_main_thread().users.others()) {
            // As many as the other library's regions have: libgomp ends the threads that a smaller region does not
            // need, and starts those that a larger one does. All of them have to come, so not for a few of many.
            // Without hyperthreads, PyTorch's count, they are half as many as lossk's.
            size = omp_get_max_threads();
            if (size < 2 || threads > 2 * size || size > 4 * threads) return false;
        }
    }
    static thread_local int pool = 1;  // threads of this thread's last region, with itself
    static thread_local clock::time_point refused{};
    if (size > pool) {
        constexpr auto pause = std::chrono::milliseconds(500);  // between trials that fail
        if (refused != clock::time_point{} && clock::now() - refused < pause) return false;
        if (!can_start(size - 1)) {
            refused = clock::now();
            return false;
        }
    }
    pool = size;
    const auto start = clock::now();
    auto through = start;
#pragma omp parallel num_threads(size)
    {
        const int thread = omp_get_thread_num();
        if (thread < threads) work(context);
        if (thread == 0) through = clock::now();
    }
    if (by == engine::automatic) of_main_thread().late.note(start, through, clock::now());
    return true;
}

bool prefers_openmp() {
    const engine by = engine_of_process();
    return has_default_stacks() && (by == engine::openmp || (by == engine::automatic && is_main_thread()));
}

#else

bool run_on_openmp(int, void (*)(void*), void*) { return false; }
bool prefers_openmp() { return false; }

#endif

}  // namespace lossk
