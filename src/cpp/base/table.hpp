// The table of kernels that an ISA object exports: an entry for each formula. Plain data, as in types.hpp.
#pragma once

#include "softmax.hpp"

namespace lossk {

struct pointwise_entry {
    const char* name;
    int parameters, inputs;
    domain_text domain;
    bool target_alone;                     // is it a domain of targets?
    domain_kernel outside[element_count];  // null: every input is in it
    pointwise_kernel kernel[element_count][verb_count];
};
struct softmax_entry {
    softmax_kernel short_rows, long_rows;
    softmax_part reduce;
    softmax_kernel normalise;
    softmax_part write;
};
struct rows_entry {
    const char* name;
    int parameters;
    row_target target;
    bool class_weights_divide;  // do class weights enter the divisor of the mean?
    rows_kernel kernel[element_count][verb_count];
    rows_domain_kernel outside[element_count];  // of probabilities below 0; null: every target is in the domain
};
struct pairs_entry {
    const char* name;
    int parameters, inputs;
    bool targets;  // does it take one of each row?
    bool single;   // is every element a pair by itself?
    pairs_kernel kernel[element_count];
};
struct activation_entry {
    const char* name;
    int parameters;
    activation_kernel kernel[element_count][map_count];
};
struct gated_entry {
    const char* name;
    gated_kernel kernel[element_count];
};
struct update_entry {
    const char* name;
    int slots, parameters;
    update_kernel kernel[element_count];
    update_norms_kernel norms[element_count];  // null: there is one pass
};
struct unary_entry {
    const char* name;
    unary_kernel kernel[element_count];
};

struct linear_kernels;  // linear.hpp

struct kernel_table {
    const char* isa;
    int (*register_width)();  // bytes of a register, told by code of the ISA object itself
    const pointwise_entry* pointwise;
    int pointwise_count;
    const rows_entry* rows;
    int rows_count;
    const pairs_entry* pairs;
    int pairs_count;
    const activation_entry* activation;
    int activation_count;
    const gated_entry* gated;
    int gated_count;
    const update_entry* update;
    int update_count;
    const unary_entry* unary;
    int unary_count;
    softmax_entry softmax[element_count];
    const linear_kernels* linear[element_count];
    ctc_kernel ctc[element_count];
    label_kernel label[integer_count][element_count];
    sum_kernel sum[element_count];
    pointwise_kernel known_weight[element_count];  // of samples whose target is not NaN
    rows_domain_kernel below_0[element_count];     // of probabilities of cross-entropy
    norm_kernel sum_of_squares[element_count];
    scale_kernel scale[element_count];
    widen_kernel widen;
    narrow_kernel narrow;
    twin_kernel twin;
};

}  // namespace lossk
