// The derivatives that a call returns: in arrays of the user's, or in fresh ones.
#pragma once

#include <initializer_list>

#include "arrays.hpp"

namespace lossk {

struct named_input {
    const std::optional<array_view>& array;
    const char* name;
    bool may_be_output = false;  // exactly the same memory is fine: the kernel works in place
};

struct derivatives {
    std::optional<array_view> g, h;

    // Takes over what the user passed as `out`: None, an array, or a pair of them for gradient and second derivative.
    // False: it must be prepared first. Raises where it can never be written, or overlaps an input.
    bool accept(py::handle out, verb what, const array_view& like, std::initializer_list<named_input> inputs);
    // Fresh arrays for what the verb returns and the user gave no array for.
    void allocate(verb what, const array_view& like);
    // What the verb returns.
    py::object result(verb what, const py::object& value) const;

    void* g_data() const { return g ? g->mutable_data() : nullptr; }
    void* h_data() const { return h ? h->mutable_data() : nullptr; }
};

}  // namespace lossk
