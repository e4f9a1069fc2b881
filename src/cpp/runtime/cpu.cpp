// Which table of kernels this CPU runs, and how large its last cache is.
#include "cpu.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace lossk {

#if defined(LOSSK_X86_64_V4)
extern const kernel_table table_x86_64_v4;
#endif
#if defined(__x86_64__)
extern const kernel_table table_x86_64_v3;
#endif
extern const kernel_table table_base;

namespace {

// Best first, by measurement.
std::vector<const kernel_table*> available_tables() {
    std::vector<const kernel_table*> tables;
#if defined(__x86_64__)
    // These also check that the operating system saves the registers.
    __builtin_cpu_init();
#if defined(LOSSK_X86_64_V4)
    if (__builtin_cpu_supports("x86-64-v4")) tables.push_back(&table_x86_64_v4);
#endif
    if (__builtin_cpu_supports("x86-64-v3")) tables.push_back(&table_x86_64_v3);
#endif
    tables.push_back(&table_base);
    return tables;
}

const kernel_table* table_named(const std::string& name, const char* asked_by) {
    std::string known;
    for (const kernel_table* t : available_tables()) {
        if (name == t->isa) return t;
        known += (known.empty() ? "'" : ", '") + std::string(t->isa) + "'";
    }
    throw std::invalid_argument(std::string(asked_by) + ": got '" + name + "', this CPU has " + known);
}

const kernel_table* first_table() {
    const char* forced = std::getenv("LOSSK_ISA");
    return forced && *forced ? table_named(forced, "environment variable LOSSK_ISA") : available_tables().front();
}

std::atomic<const kernel_table*>& active() {
    static std::atomic<const kernel_table*> table{first_table()};
    return table;
}

index cache_of_cpu() {
    // sysfs knows the slice that this core shares; sysconf may report the sum over a socket, so it is not asked.
    for (int level : {3, 2}) {
        std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
        index size = 0;
        char unit = 0;
        if (file >> size >> unit) return size * (unit == 'M' ? index{1} << 20 : index{1} << 10);
    }
    return index{8} << 20;
}

std::atomic<index>& known_cache() {
    static std::atomic<index> bytes{cache_of_cpu()};
    return bytes;
}

}  // namespace

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const kernel_table* t : available_tables()) names.emplace_back(t->isa);
    return names;
}

const kernel_table& kernels() { return *active().load(std::memory_order_relaxed); }

void set_isa(const std::string& name) { active().store(table_named(name, "set_isa")); }

index last_level_cache() { return known_cache().load(std::memory_order_relaxed); }

void pretend_last_level_cache(index bytes) { known_cache().store(bytes > 0 ? bytes : cache_of_cpu()); }

}  // namespace lossk
