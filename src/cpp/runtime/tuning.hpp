// What depends on the machine and changes no bit of a result: from where on results are streamed,
// which table of kernels serves a family, from where on another thread pays.
#pragma once

#include <string>

#include "../base/table.hpp"

namespace lossk {

// Kernels that make these choices together.
enum class family : int { pointwise, activations, rows, short_rows, long_rows, row_maps, steps };
constexpr int family_count = 7;
extern const char* const family_names[family_count];

// The kind of CPU whose measurements the choices start from, for people.
const char* preset_name();

// Bytes of a result from which on a family's results are streamed.
index stream_from(family f);
// The table in use, or the one that is faster for this family; where a table was asked for by name, that one.
const kernel_table& kernels_of(family f);
// Below this share of elements another thread costs more than it does.
index elements_per_thread();

// A profile's choices, at any time; 0 and "": as lossk guesses. std::invalid_argument where this CPU has no such table.
void choose_stream_from(family f, index bytes);
void choose_table(family f, const std::string& isa);
void choose_elements_per_thread(index elements);

}  // namespace lossk
