// Binding of the pointwise losses. Knows no loss: a kernel is an index into the table and its parameters.
#include "arguments.hpp"
#include "families.hpp"
#include "outputs.hpp"
#include "pieces.hpp"
#include "request.hpp"
#include "tuning.hpp"

#include "../runtime/cpu.hpp"

namespace lossk {
namespace pointwise {

// The arguments of one call, checked; nothing has been written when this throws.
struct call {
    const pointwise_entry* entry;
    request asked;
    element type{};
    std::optional<array_view> z, y, x, w, each;
    derivatives out;
    pointwise_args a{};

    call(py::handle kernel, py::handle given)
        : entry(&tuned_kernels(family::pointwise).pointwise[PyLong_AsLong(kernel.ptr())]), asked(given) {}
    // False: something must be prepared first.
    bool accept(py::handle constant);
    bool accept_third(py::handle constant);
    void fill_arguments(py::handle parameters);
    int worthwhile() const { return worthwhile_threads(asked.threads, z->size()); }
    void check_domain() const;
    double divide() const;
    void throw_outside(index at) const;
    py::object run(py::handle parameters);
};

bool call::accept(py::handle constant) {
    z = view(asked.z);
    y = view(asked.target);
    if (!z || !y) return false;
    const std::optional<element> e = element_of(*z);
    if (!e || y->type() != z->type()) return false;
    type = *e;
    if (y->ndim() == 0 && z->ndim() > 0) return false;  // one number, every sample's
    check_same_shape(*y, "y", *z, "z");
    if (!asked.sample_weight.is_none()) {
        w = view(asked.sample_weight);
        if (!w || !is_arithmetic(*w, type)) return false;
        check_same_shape(*w, "sample_weight", *z, "z");
    }
    if (entry->inputs == 3 && !accept_third(constant)) return false;
    return out.accept(asked.out, asked.what, *z,
                      {{z, "z", true}, {y, "y"}, {w, "sample_weight"}, {x, "the third input"}});
}

// As long as z, or as z's last axis; Python says which input it is where it is neither.
bool call::accept_third(py::handle constant) {
    x = constant.is_none() ? view(asked.third) : constant_for(constant, type);
    if (!x || !is_arithmetic(*x, type)) return false;
    if (x->same_shape(*z)) return true;
    const index last = z->ndim() > 0 ? z->shape(z->ndim() - 1) : 1;
    a.x_period = last;
    return x->has_shape(&last, 1);
}

void call::fill_arguments(py::handle parameters) {
    a.z = z->data();
    a.y = y->data();
    a.x = x ? x->data() : nullptr;
    a.w = w ? w->data() : nullptr;
    a.kind = storage_of(type);
    a.ignore_nan = asked.ignore_nan;
    read_parameters(parameters, entry->parameters, a.parameters);
}

// Raises at the first element outside the formula's domain.
void call::check_domain() const {
    const domain_kernel outside = entry->outside[arithmetic_of(type)];
    if (!outside || !asked.check) return;
    const auto firsts = without_gil(z->size(), interrupts::allowed, [&] {
        return results_of_pieces(z->size(), pointwise_chunk, worthwhile(),
                                 [&](index b, index e) { return outside(a, b, e); });
    });
    for (const index at : firsts)
        if (at >= 0) throw_outside(at);
}

double call::divide() const {
    if (asked.how != reduction::mean) return 1;
    if (asked.normalizer) return *asked.normalizer;
    if (asked.ignore_nan) {
        const pointwise_kernel known = kernels().known_weight[arithmetic_of(type)];
        return sum_of_pieces(z->size(), pointwise_chunk, worthwhile(),
                             [&](index b, index e) { return known(a, b, e); });
    }
    if (!w) return static_cast<double>(z->size());
    const sum_kernel sum = kernels().sum[arithmetic_of(type)];
    return sum_of_pieces(z->size(), pointwise_chunk, worthwhile(), [&](index b, index e) { return sum(a.w, b, e); });
}

void call::throw_outside(index at) const {
    const auto element = [&](const array_view& array, index i) {
        return std::string(py::str(py::float_(array.object().attr("flat")[py::int_(i)])));
    };
    const bool alone = entry->target_alone;
    std::string told = alone ? "y: got " : "z and y: got z = " + element(*z, at) + ", y = ";
    told += element(*y, at);
    if (x && !alone) told += " and a third input of " + element(*x, a.x_period ? at % a.x_period : at);
    told += " at flat index " + std::to_string(at) + ", wanted " + entry->domain.wanted;
    const auto signs = [&] { return y->object().attr("__abs__")().attr("__eq__")(1).attr("all")(); };
    if (entry->domain.of_signs && py::bool_(signs()))
        told += std::string(", as ") + entry->domain.of_signs + " makes it of -1 and 1";
    throw py::value_error(told);
}

py::object call::run(py::handle parameters) {
    fill_arguments(parameters);
    const index n = z->size();
    // Before anything of the user's is written. Where results are new, the kernel itself looks.
    const bool overwrites = out.g || out.h;
    if (overwrites) check_domain();
    bool outside = false;
    a.outside = asked.check && !overwrites ? &outside : nullptr;
    out.allocate(asked.what, *z);
    if (wants_value(asked.what) && asked.how == reduction::none)
        each = fresh("losses", arithmetic_dtype(type), z->shape(), z->ndim());
    a.each = each ? each->mutable_data() : nullptr;
    a.g = out.g_data();
    a.h = out.h_data();
    a.streaming = out.g && should_stream(family::pointwise, *out.g, *z) &&
                  (!out.h || should_stream(family::pointwise, *out.h, *z));

    const pointwise_kernel kernel = entry->kernel[arithmetic_of(type)][static_cast<int>(asked.what)];
    double value = 0, divisor = 1;
    without_gil(n, interrupts_of(overwrites), [&] {
        divisor = divide();
        a.scale = 1.0 / divisor;
        value = sum_of_pieces(n, pointwise_chunk, worthwhile(), [&](index b, index e) { return kernel(a, b, e); });
    });
    if (outside) check_domain();
    return out.result(asked.what, each ? py::object(each->object()) : py::object(py::float_(value / divisor)));
}

// In: kernel, its parameters, the loss's own third input.
py::object pointwise_call(const arguments& in, py::handle request) {
    call c(in[0], request);
    if (!c.accept(in[2])) return not_implemented();
    return c.run(in[1]);
}

py::dict pointwise_kernels() { return places_of(kernels().pointwise, kernels().pointwise_count); }

}  // namespace pointwise

void bind_pointwise(py::module_& m) {
    using namespace pointwise;
    m.attr("pointwise_kernels") = pointwise_kernels();
    define_bound<pointwise_call, 3>(m, "pointwise");
}

}  // namespace lossk
