// Which table of kernels this CPU runs.
#include "cpu.hpp"

#include "../base/linear.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <cstdlib>
#include <stdexcept>

namespace lossk {

#if defined(LOSSK_X86_64_V4)
extern const kernel_table table_x86_64_v4;
extern const linear_kernels table_linear_bf16, table_linear_amx[linear_most_terms];
#endif
#if defined(__x86_64__)
extern const kernel_table table_x86_64_v3;
#endif
extern const kernel_table table_base;

namespace {

#if defined(__x86_64__)
// The levels of the x86-64 psABI by their features, as compilers before GCC 12 and Clang 18 do not know the levels
// themselves. The builtin also checks that the operating system saves the registers; three features it does not know
// everywhere.
bool has_x86_64_v3() {
    unsigned a = 0, b = 0, basic = 0, extended = 0, d = 0;
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __get_cpuid(1, &a, &b, &basic, &d) && (basic & bit_F16C) != 0 &&
           (basic & bit_MOVBE) != 0 && __get_cpuid(0x80000001, &a, &b, &extended, &d) && (extended & bit_LZCNT) != 0;
}

#if defined(LOSSK_X86_64_V4)
bool has_x86_64_v4() {
    return has_x86_64_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif
#endif

// Best first, by measurement.
std::vector<const kernel_table*> available_tables() {
    std::vector<const kernel_table*> tables;
#if defined(__x86_64__)
#if defined(LOSSK_X86_64_V4)
    if (has_x86_64_v4()) tables.push_back(&table_x86_64_v4);
#endif
    if (has_x86_64_v3()) tables.push_back(&table_x86_64_v3);
#endif
    tables.push_back(&table_base);
    return tables;
}

#if defined(LOSSK_X86_64_V4)
// Intel's CPUs do half as many operations a second with it as in f32 (measured: 231 against 469 GFLOP/s), AMD's twice
// as many (470 against 235).
bool has_fast_bf16_pairs() { return __builtin_cpu_supports("avx512bf16") && this_cpu().vendor == "AuthenticAMD"; }

// Whether the CPU has AMX's tiles and their products of bf16, and the operating system saves them.
bool has_amx() {
    constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, tile_state = 3u << 17;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amx_bf16) || !(d & amx_tile)) return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & tile_state) == tile_state;
}

// Linux gives a process the tiles' state when it is asked, and refuses where a signal stack is too small for it.
bool may_use_tiles() {
#if defined(__linux__)
    constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request, tile_data) == 0;
#else
    return false;
#endif
}

// By the terms of a number. AMX multiplies bf16 more than six times as fast as FMA f32 (3,700 to 5,000 against 469
// GFLOP/s on two cores of a Xeon of the Sapphire Rapids kind), so that even six products for one pay; where pairs of
// bf16 are twice as fast as FMA, three do not.
struct bf16_choice {
    const linear_kernels* unit[linear_most_terms] = {};
    bool amx_is_wrong = false;
};
const bf16_choice& bf16_unit_of_this_cpu() {
    static const bf16_choice chosen = [] {
        bf16_choice choice;
        if (has_fast_bf16_pairs()) choice.unit[0] = &table_linear_bf16;
        if (!has_amx() || !may_use_tiles()) return choice;
        choice.amx_is_wrong = !table_linear_amx[0].is_right();
        for (int t = 0; t < linear_most_terms && !choice.amx_is_wrong; ++t) choice.unit[t] = &table_linear_amx[t];
        return choice;
    }();
    return chosen;
}
#endif

std::atomic<bool> asked_for{false};

const kernel_table* first_table() {
    const char* forced = std::getenv("LOSSK_ISA");
    if (!forced || !*forced) return available_tables().front();
    asked_for = true;
    return &table_named(forced, "environment variable LOSSK_ISA");
}

std::atomic<const kernel_table*>& active() {
    static std::atomic<const kernel_table*> table{first_table()};
    return table;
}

cpu_kind read_kind() {
    cpu_kind kind;
#if defined(__x86_64__)
    unsigned a = 0, name[3] = {}, d = 0;
    if (__get_cpuid(0, &a, &name[0], &name[2], &name[1]))
        kind.vendor.assign(reinterpret_cast<char*>(name), sizeof name);
    if (__get_cpuid(1, &a, &name[0], &name[1], &d)) {
        const unsigned basic = a >> 8 & 15;
        kind.family = static_cast<int>(basic == 15 ? basic + (a >> 20 & 255) : basic);
        kind.model = static_cast<int>((a >> 4 & 15) | (a >> 16 & 15) << 4);
    }
#endif
    return kind;
}

}  // namespace

const cpu_kind& this_cpu() {
    static const cpu_kind kind = read_kind();
    return kind;
}

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const kernel_table* t : available_tables()) names.emplace_back(t->isa);
    return names;
}

const kernel_table& table_named(const std::string& name, const std::string& asked_by) {
    std::string known;
    for (const kernel_table* t : available_tables()) {
        if (name == t->isa) return *t;
        known += (known.empty() ? "'" : ", '") + std::string(t->isa) + "'";
    }
    throw std::invalid_argument(asked_by + ": got '" + name + "', this CPU has " + known);
}

const kernel_table& kernels() { return *active().load(std::memory_order_relaxed); }

const linear_kernels* bf16_unit_of(const kernel_table& table, int terms) {
#if defined(LOSSK_X86_64_V4)
    // Who names an ISA gets the bits of its FMA.
    if (&table == &table_x86_64_v4 && (terms == 1 || !isa_was_asked_for()))
        return bf16_unit_of_this_cpu().unit[terms - 1];
#endif
    static_cast<void>(table);
    static_cast<void>(terms);
    return nullptr;
}

bool amx_is_wrong() {
#if defined(LOSSK_X86_64_V4)
    return bf16_unit_of_this_cpu().amx_is_wrong;
#else
    return false;
#endif
}

void set_isa(const std::string& name) {
    active().store(&table_named(name, "set_isa"));
    asked_for = true;
}

bool isa_was_asked_for() { return asked_for.load(std::memory_order_relaxed); }

}  // namespace lossk
