// What depends on the machine: what is known of kinds of CPUs, and what a profile says of this one.
#include "tuning.hpp"

#include <atomic>

#include "caches.hpp"
#include "cpu.hpp"

namespace lossk {

const char* const family_names[family_count] = {"pointwise", "activations", "rows", "short_rows",
                                                "long_rows", "row_maps",    "steps"};

namespace {

// What was measured on a kind of CPU: from how many last-level caches on a family's results are streamed, which table
// serves it where the best one by name does not, and from how many elements on another thread pays.
struct preset {
    const char* vendor;
    int family, first_model, last_model;
    const char* name;
    double caches[family_count];
    const char* isa[family_count];
    index elements_per_thread;
};

// Of CPUs that nobody has measured, the numbers of Zen 3. Streaming short rows takes a buffer in L1, and long rows keep
// their exponentials elsewhere meanwhile: there it pays later. Steps are in place.
constexpr preset any_cpu = {"", 0, 0, 0, "any CPU", {0.5, 0.5, 0.5, 2, 1, 1, 0}, {}, 24576};

constexpr preset presets[] = {
    // bench/machines/amd-epyc-authenticamd-25-1-2-cores.json
    {"AuthenticAMD", 0x19, 0x00, 0x0f, "AMD Zen 3, server", {0.5, 0.5, 0.5, 2, 1, 1, 0}, {}, 24576},
    // bench/machines/amd-epyc-authenticamd-25-17-2-cores.json, and lossk tune on it
    {"AuthenticAMD", 0x19, 0x10, 0x1f, "AMD Zen 4, server", {0.25, 0.25, 0.5, 2, 1, 1, 0}, {}, 24576},
    // bench/machines/amd-epyc-authenticamd-26-2-2-cores.json, and lossk tune on it
    {"AuthenticAMD", 0x1a, 0x00, 0x1f, "AMD Zen 5, server", {0.5, 0.5, 0.5, 2, 1, 1, 0}, {}, 32768},
};

const preset& find_preset() {
    const cpu_kind& cpu = this_cpu();
    for (const preset& p : presets)
        if (cpu.vendor == p.vendor && cpu.family == p.family && cpu.model >= p.first_model && cpu.model <= p.last_model)
            return p;
    return any_cpu;
}
const preset& preset_of_cpu() {
    static const preset& found = find_preset();
    return found;
}

const kernel_table* guessed_table(family f) {
    const char* const isa = preset_of_cpu().isa[static_cast<int>(f)];
    return isa ? &table_named(isa, preset_of_cpu().name) : nullptr;
}

// Zeros and nulls: as guessed. Atomic, as calls of other threads look while a profile is read.
struct choice {
    std::atomic<index> stream_from{0};
    std::atomic<const kernel_table*> table{nullptr};
};
choice& chosen(family f) {
    static choice all[family_count];
    return all[static_cast<int>(f)];
}
std::atomic<index> chosen_elements{0};

}  // namespace

const char* preset_name() { return preset_of_cpu().name; }

index stream_from(family f) {
    if (const index bytes = chosen(f).stream_from.load(std::memory_order_relaxed); bytes > 0) return bytes;
    return static_cast<index>(preset_of_cpu().caches[static_cast<int>(f)] * static_cast<double>(last_level_cache()));
}

const kernel_table& kernels_of(family f) {
    if (isa_was_asked_for()) return kernels();
    if (const kernel_table* table = chosen(f).table.load(std::memory_order_relaxed)) return *table;
    static const kernel_table* const guessed[family_count] = {
        guessed_table(family::pointwise),  guessed_table(family::activations), guessed_table(family::rows),
        guessed_table(family::short_rows), guessed_table(family::long_rows),   guessed_table(family::row_maps),
        guessed_table(family::steps)};
    const kernel_table* const table = guessed[static_cast<int>(f)];
    return table ? *table : kernels();
}

index elements_per_thread() {
    const index chosen_here = chosen_elements.load(std::memory_order_relaxed);
    return chosen_here > 0 ? chosen_here : preset_of_cpu().elements_per_thread;
}

void choose_stream_from(family f, index bytes) { chosen(f).stream_from = bytes; }
void choose_table(family f, const std::string& isa) {
    chosen(f).table = isa.empty() ? nullptr : &table_named(isa, "isa");
}
void choose_elements_per_thread(index elements) { chosen_elements = elements; }

}  // namespace lossk
