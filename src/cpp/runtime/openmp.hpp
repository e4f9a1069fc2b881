// OpenMP's threads.
#pragma once

namespace lossk {

// Who shares out work: OpenMP's threads or the team's; `automatic`: OpenMP's but where the team is known to be faster.
enum class engine { automatic, openmp, team };

// LOSSK_THREADS_BY, "auto" where it is not set; std::invalid_argument where it is something else or not to be had.
engine engine_of_process();

// Calls work(context) on `threads` of OpenMP's threads, the calling one among them, and returns true when all are
// through; `work` must not throw. Returns false, without a call, where the team is wanted:
// - OpenMP's threads came late a short while ago: another library's had their cores. The team calls off who comes late;
// - another thread than the main one calls: libgomp would start a pool for each thread that calls;
// - another library, PyTorch, has set the pool's size, and it is far from what the call wants;
// - OMP_STACKSIZE or GOMP_STACKSIZE is set, as kernels need some 50 KB; or the system gives no more threads.
// Only the last of these holds where LOSSK_THREADS_BY asks for OpenMP.
bool run_on_openmp(int threads, void (*work)(void*), void* context);

// Whether calls of this thread go there, as far as is known before one.
bool prefers_openmp();

}  // namespace lossk
