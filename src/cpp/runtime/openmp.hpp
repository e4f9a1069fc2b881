// OpenMP's threads.
#pragma once

namespace lossk {

// Who shares out work: OpenMP's threads or the team's; `automatic`: whoever is faster as far as is known.
enum class engine { automatic, openmp, team };

// LOSSK_THREADS_BY, "auto" where it is not set; std::invalid_argument where it is something else or not to be had.
engine engine_of_process();

// Calls work(context) on `threads` of OpenMP's threads, the calling one among them, and returns true when all are
// through; `work` must not throw. Returns false, without a call, where the team is wanted:
// - another thread than the main one calls: libgomp would start a pool for each thread that calls;
// - no other library has threads in this pool. With PyTorch they spin for milliseconds after each of its operators, so
//   that the next one finds them awake: the team would have to share their cores. Without it the team is faster: it
//   wakes sooner, calls off helpers that come late, and sleeps soon;
// - OpenMP's threads came late in the last calls;
// - the pool has too few threads, or the system gives no more of them.
// Only the last holds where LOSSK_THREADS_BY asks for OpenMP.
bool run_on_openmp(int threads, void (*work)(void*), void* context);

// Whether calls of this thread go there, as far as is known before one.
bool prefers_openmp();

}  // namespace lossk
