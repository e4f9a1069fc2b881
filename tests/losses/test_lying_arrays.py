"""Objects that are not what they say: DLPack capsules, buffers, arrays that go while they are read; far labels."""

from __future__ import annotations

import ctypes
import gc
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import lossk

BFLOAT = 4
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class Tensor(ctypes.Structure):
    """A DLManagedTensor: the DLTensor, then what its owner needs."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
        ("owner", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Bfloat16:
    """Speaks DLPack as a tensor of bfloat16 does, and says of itself what a test wants."""

    def __init__(self, words: np.ndarray, shape: Any = None, strides: Any = None, **said: Any) -> None:
        shape = words.shape if shape is None else shape
        self.kept = [
            words,
            (ctypes.c_int64 * len(shape))(*shape),
            (ctypes.c_int64 * len(strides or ()))(*strides or ()),
        ]
        self.tensor = Tensor(words.ctypes.data, (1, 0), len(shape), BFLOAT, 16, 1, self.kept[1])
        if strides:
            self.tensor.strides = self.kept[2]
        for name, value in said.items():
            setattr(self.tensor, name, value)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        return _new_capsule(ctypes.addressof(self.tensor), b"dltensor", None)


@pytest.fixture
def numbers() -> np.ndarray:
    return np.arange(1, 7).astype(ml_dtypes.bfloat16).view(np.uint16).reshape(2, 3)


def test_capsules_are_read_with_any_strides(numbers: np.ndarray) -> None:
    want = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    loss = lossk.AbsoluteError()
    assert loss(Bfloat16(numbers), np.zeros((2, 3)), reduction="sum") == want.sum()
    turned = Bfloat16(numbers, (3, 2), (-1, -3), offset=10)
    np.testing.assert_array_equal(loss(turned, 0, reduction="none"), want[::-1, ::-1].T)


@pytest.mark.parametrize(
    "said",
    [
        {"data": None},
        {"shape": (2, -3)},
        {"shape": (2**62, 8)},
        {"ndim": -1},
        {"ndim": 1000},
        {"code": 77},
        {"bits": 24},
        {"lanes": 4},
    ],
    ids=str,
)
def test_capsules_that_cannot_be_are_refused(said: dict[str, Any], numbers: np.ndarray) -> None:
    if said.get("ndim", 0) > 2:  # so many lengths there are
        said = {**said, "shape": (1,) * said["ndim"]}
    out = np.full((2, 3), 7, ml_dtypes.bfloat16)
    with pytest.raises((TypeError, ValueError), match="z: got"):
        lossk.Huber().grad(Bfloat16(numbers, **said), np.zeros((2, 3)), out=out)
    assert (out == 7).all()


def test_a_capsule_that_was_used_is_refused(numbers: np.ndarray) -> None:
    class Used(Bfloat16):
        def __dlpack__(self, **_: Any) -> Any:
            return _new_capsule(ctypes.addressof(self.tensor), b"used_dltensor", None)

    with pytest.raises(TypeError, match="z: got"):
        lossk.Huber()(Used(numbers), np.zeros((2, 3)))


def test_memory_lives_until_the_call_ends() -> None:
    """An object that drops its array as soon as it was asked for it."""

    class Forgetful:
        def __init__(self) -> None:
            self.array: Any = np.ones((200, 300), np.float32)

        def __array__(self, *_: Any, **__: Any) -> Any:
            array, self.array = self.array, None
            return array

    given = Forgetful()
    gone = weakref.ref(given.array)
    z = np.zeros((200, 300), np.float32)
    assert lossk.AbsoluteError()(z, given) == 1
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    "interface",
    [
        {"shape": (2, -3), "typestr": "<f4", "data": (0, False), "version": 3},
        {"shape": (2, 3), "typestr": "<f4", "data": (0,), "version": 3},
        {"shape": (2, 3), "typestr": "nothing", "data": (0, False), "version": 3},
        {"shape": "two", "typestr": "<f4", "data": (0, False), "version": 3},
    ],
    ids=str,
)
def test_array_interfaces_that_cannot_be_are_refused(interface: dict[str, Any]) -> None:
    class Lying:
        __array_interface__ = interface

    with pytest.raises((TypeError, ValueError), match="z: got"):
        lossk.Huber()(Lying(), np.zeros((2, 3), np.float32))


def test_labels_beyond_2_to_the_31_are_found() -> None:
    classes = 2**31 + 5
    try:
        z = np.zeros((1, classes), np.float16)  # pages that nobody touches take no memory
    except MemoryError:
        pytest.skip("there is no address space of 4 GiB")
    z[0, classes - 2] = -1.5
    for dtype in (np.int64, np.uint64, np.uint32):
        assert lossk.NLL()(z, np.array([classes - 2], dtype)) == 1.5
        with pytest.raises(IndexError, match=rf"target\[0\]: got {classes}, wanted a label in \[0, {classes}\)"):
            lossk.NLL()(z, np.array([classes], dtype))
