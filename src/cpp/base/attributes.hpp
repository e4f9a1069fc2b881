// What the compiler is told about loops that are functions of their own, with everything they call inlined.
#pragma once

// LOSSK_ONE_LOOP: branches within the loop stay there, where GCC would make a copy of the loop for each of them.
// LOSSK_SIDE_BY_SIDE: also, operations are in an order that mixes the chains of registers that are computed side by
// side. GCC keeps the order of the source without being asked; Clang mixes by itself.
#if defined(__GNUC__) && !defined(__clang__)
#define LOSSK_ONE_LOOP gnu::noinline, gnu::flatten, gnu::optimize("no-unswitch-loops")
#define LOSSK_SIDE_BY_SIDE \
    gnu::noinline, gnu::flatten, gnu::optimize("schedule-insns", "sched-pressure", "no-unswitch-loops")
#else
#define LOSSK_ONE_LOOP gnu::noinline, gnu::flatten
#define LOSSK_SIDE_BY_SIDE gnu::noinline, gnu::flatten
#endif
