// Threads that OpenMP keeps for another library of this process.
#pragma once

namespace lossk {

// PyTorch's threads spin for milliseconds after each of its operators, so that the next one finds them awake. Threads
// of our own would have to share their cores; but spinning threads can as well take our work. Calls work(context) on
// up to `threads` of them, the calling thread among them, and returns true when all are through. Returns false, without
// a call, from other threads than the main one, within a region, where there are too few, or where they were waited for
// lately. `work` must not throw.
bool run_on_openmp_pool(int threads, void (*work)(void*), void* context);

// Whether there is such a pool for this thread.
bool finds_openmp_pool();

}  // namespace lossk
