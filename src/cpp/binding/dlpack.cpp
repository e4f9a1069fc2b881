// bfloat16 through DLPack, which NumPy does not read: the memory of a tensor as an array of 16-bit words, without a
// copy.
#include "arrays.hpp"
#include "dlpack.hpp"
#include "families.hpp"

#include <algorithm>
#include <vector>

namespace lossk {
namespace {

// None where the capsule holds anything but bfloat16 on the CPU; it stays its own owner then.
py::object words_from_dlpack(const py::capsule& capsule) {
    if (!PyCapsule_IsValid(capsule.ptr(), "dltensor")) return py::none();
    const auto managed = static_cast<dl_managed*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
    const dl_tensor& t = managed->tensor;
    if (t.device.type != dl_cpu || t.type.code != dl_bfloat || t.type.bits != 16 || t.type.lanes != 1)
        return py::none();

    const auto ndim = static_cast<std::size_t>(t.ndim);
    std::vector<py::ssize_t> shape(t.shape, t.shape + ndim), strides(ndim);
    std::size_t next = 1;  // unsigned, as it may wrap: of shapes that no memory holds, which NumPy refuses
    for (std::size_t i = ndim; i-- > 0; next *= static_cast<std::size_t>(shape[i]))
        strides[i] = static_cast<py::ssize_t>((t.strides ? static_cast<std::size_t>(t.strides[i]) : next) * 2);

    // NumPy would take memory of its own in the place of none, whatever that holds.
    if (!t.data && std::find(shape.begin(), shape.end(), 0) == shape.end())
        throw py::value_error("DLPack: got no memory, wanted that of the tensor");
    PyCapsule_SetName(capsule.ptr(), "used_dltensor");  // ours from here on
    const py::capsule owner(managed, [](void* p) {
        const auto m = static_cast<dl_managed*>(p);
        if (m->deleter) m->deleter(m);
    });
    return py::array(py::dtype::of<std::uint16_t>(), shape, strides, static_cast<char*>(t.data) + t.byte_offset, owner);
}

}  // namespace

void bind_dlpack(py::module_& m) { m.def("words_from_dlpack", words_from_dlpack); }

}  // namespace lossk
