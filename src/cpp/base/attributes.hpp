// What the compiler is told about a loop that computes several registers side by side.
#pragma once

// A function of its own, with everything it calls inlined, and its operations in an order that mixes the chains of
// those registers. GCC keeps the order of the source without being asked; Clang mixes by itself.
#if defined(__GNUC__) && !defined(__clang__)
#define LOSSK_SIDE_BY_SIDE gnu::noinline, gnu::flatten, gnu::optimize("schedule-insns", "sched-pressure")
#else
#define LOSSK_SIDE_BY_SIDE gnu::noinline, gnu::flatten
#endif
