// Which table of kernels runs: chosen once from what the CPU has, or forced by name.
#pragma once

#include <string>
#include <vector>

#include "../base/table.hpp"

namespace lossk {

// Names of the tables that this CPU can run, best first.
std::vector<std::string> available_isas();

// The table in use. At first use: LOSSK_ISA if it is set, else the best; std::invalid_argument if that is not
// available.
const kernel_table& kernels();

// The table of this name; std::invalid_argument, which names who asked, where this CPU has none.
const kernel_table& table_named(const std::string& name, const std::string& asked_by);

// The unit that goes with a table for products of bf16, or of numbers that are sums of so many bf16; null: none, or one
// that is slower than multiplying in f32.
const linear_kernels* bf16_unit_of(const kernel_table& table, int terms);
// Did AMX's tiles multiply known numbers wrongly? Then they are not used.
bool amx_is_wrong();

void set_isa(const std::string& name);
// Was it named, by set_isa or by LOSSK_ISA? Then every family of kernels runs it.
bool isa_was_asked_for();

// What the CPU says it is, as the vendor numbers it: "AuthenticAMD", 25, 1. Zeros where it says nothing.
struct cpu_kind {
    std::string vendor;
    int family = 0, model = 0;
};
const cpu_kind& this_cpu();

}  // namespace lossk
