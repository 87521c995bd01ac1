"""ExecuTorch's C++ libraries, as its wheel has them in ``lib/``, called from Python: they need no torch, whereas the
wheel's own Python module is linked to it (425 MB, a minute to import on a small board).

There is no C interface, so the exported C++ symbols are called as 64-bit Linux does (the Itanium C++ ABI): what goes in
and out are pointers, numbers and five small structs, which stand here as in the release's headers. A symbol's name
holds the types of its arguments, so that another signature is another symbol, which is then missing; a tensor made by
the library itself shows that its fields lie where they are looked for. Otherwise the release is refused, not called.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any, List, Sequence, Tuple

from edgekit.errors import DeviceError

#: In the order in which they need each other. The last three say by themselves what they can do when they are loaded.
_NAMES = ("", "_threadpool", "_kernels_optimized", "_kernels_quantized", "_backend_xnnpack")
_STRING = "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_MODULE = "_ZN10executorch9extension6module6Module"
_POOL = "_ZN10executorch9extension10threadpool"
_METHOD = "_ZN10executorch7runtime6Method"
_SYMBOLS = {
    # Module(const std::string&, LoadMode, unique_ptr<EventTracer>, 2 × unique_ptr<MemoryAllocator>, bool) and ~Module()
    "module": _MODULE
    + "C1ERK"
    + _STRING
    + "NS2_8LoadModeESt10unique_ptrINS_7runtime11EventTracerESt14default_deleteISE_EESC_INSD_15MemoryAllocatorE"
    "SF_ISI_EESK_b",
    "forget": _MODULE + "D1Ev",
    # Result<Method*> Module::method(const std::string&)
    "method": _MODULE + "6methodERK" + _STRING,
    # Error Method::set_input(const EValue&, size_t), Error Method::execute(), const EValue& Method::get_output(size_t)
    "set_input": _METHOD + "9set_inputERKNS0_6EValueEm",
    "execute": _METHOD + "7executeEv",
    "get_output": "_ZNK10executorch7runtime6Method10get_outputEm",
    # TensorImpl(ScalarType, ssize_t, int*, void*, uint8_t*, int*, TensorShapeDynamism, DeviceType, int8_t)
    "tensor": "_ZN10executorch7runtime7etensor10TensorImpl"
    "C1ENS1_10ScalarTypeElPiPvPhS4_NS0_19TensorShapeDynamismENS1_10DeviceTypeEa",
    # bool register_pal(PalImpl): who hears its messages
    "register_pal": "_ZN10executorch7runtime12register_palENS0_7PalImplE",
    # ThreadPool* get_threadpool(), bool ThreadPool::_unsafe_reset_threadpool(uint32_t)
    "get_threadpool": _POOL + "14get_threadpoolEv",
    "reset_threadpool": _POOL + "10ThreadPool24_unsafe_reset_threadpoolEj",
}
#: Module::LoadMode::Mmap: a file's pages are read when they are needed, and shared between processes.
_MAPPED = 1
#: ScalarType::Int and ::Float, Tag::Tensor.
INT32, FLOAT32, _TENSOR = 3, 6, 1
#: More than a Module takes.
_MODULE_BYTES = 4096
#: How a message begins that tells of an error ('E').
_ERROR = b"E"


class _String(ctypes.Structure):
    """``std::string`` of libstdc++, of text that stands elsewhere."""

    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t), ("room", ctypes.c_char * 16)]


class _Result(ctypes.Structure):
    """``Result<Method*>``; the padding makes it a struct that is handed back in memory, as C++ does with it."""

    _fields_ = [("value", ctypes.c_void_p), ("there", ctypes.c_bool), ("padding", ctypes.c_char * 16)]


class _Tensor(ctypes.Structure):
    """``TensorImpl``."""

    _fields_ = [
        ("sizes", ctypes.c_void_p),
        ("dim_order", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("dim", ctypes.c_ssize_t),
        ("numel", ctypes.c_ssize_t),
        ("numel_bound", ctypes.c_size_t),
        ("type", ctypes.c_int8),
        ("rest", ctypes.c_char * 64),
    ]


class _Value(ctypes.Structure):
    """``EValue`` of a tensor."""

    _fields_ = [("tensor", ctypes.POINTER(_Tensor)), ("tag", ctypes.c_uint32)]


#: void (timestamp, level, filename, function, line, message, length)
_Heard = ctypes.CFUNCTYPE(
    None,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_char),
    ctypes.c_size_t,
)


class _Platform(ctypes.Structure):
    """``PalImpl``; what is null stays as it is."""

    _fields_ = [
        ("untouched", ctypes.c_void_p * 4),
        ("emit_log_message", _Heard),
        ("untouched_either", ctypes.c_void_p * 2),
        ("source", ctypes.c_char_p),
    ]


class Library:
    """The libraries in ``folder``, loaded. Raises DeviceError where they are of a release that cannot be called so."""

    def __init__(self, folder: str) -> None:
        whole = [
            ctypes.CDLL(os.path.join(folder, "libexecutorch{}.so".format(name)), mode=ctypes.RTLD_GLOBAL)
            for name in _NAMES
        ]
        core, pool = whole[:2]
        try:
            self._call = {
                name: getattr(pool if "threadpool" in name else core, symbol) for name, symbol in _SYMBOLS.items()
            }
        except AttributeError as error:
            raise _other_release(folder) from error
        for name, answer in (("method", _Result), ("get_output", ctypes.POINTER(_Value))):
            self._call[name].restype = answer
        for name in ("module", "forget", "tensor"):
            self._call[name].restype = None
        for name in ("set_input", "execute"):
            self._call[name].restype = ctypes.c_uint32
        self._call["get_threadpool"].restype = ctypes.c_void_p
        for name in ("register_pal", "reset_threadpool"):
            self._call[name].restype = ctypes.c_bool
        self._check(folder)
        #: What it said of errors since the last call.
        self._said: List[str] = []
        self._heard = _Heard(self._hear)
        self._call["register_pal"](_Platform(emit_log_message=self._heard))

    def threads(self, count: int) -> None:
        """How many threads XNNPACK and the kernels use from now on, in the whole process."""
        self._call["reset_threadpool"](ctypes.c_void_p(self._call["get_threadpool"]()), ctypes.c_uint32(count))

    def method(self, path: str, name: str) -> Method:
        """A method of a file. Raises DeviceError where the file is damaged, or asks for what this release lacks."""
        module = ctypes.create_string_buffer(_MODULE_BYTES)
        nothing = (ctypes.c_void_p * 3)()
        # the module keeps a copy
        where, text = os.fsencode(path), name.encode()
        file = _String(where, len(where))
        owned = [ctypes.byref(nothing, number * ctypes.sizeof(ctypes.c_void_p)) for number in range(3)]
        self._call["module"](module, ctypes.byref(file), ctypes.c_int(_MAPPED), *owned, ctypes.c_bool(False))
        found = Method(self, module, path)
        weakref.finalize(found, self._call["forget"], module)
        self._said.clear()
        result = self._call["method"](module, ctypes.byref(_String(text, len(text))))
        if not result.there:
            raise self.failed("load", path)
        found.address = ctypes.c_void_p(result.value)
        return found

    def call(self, name: str, *given: Any) -> Any:
        self._said.clear()
        return self._call[name](*given)

    def failed(self, what: str, given: object) -> DeviceError:
        """What it last said of why."""
        return DeviceError("ExecuTorch cannot {} this file: {}".format(what, "; ".join(self._said[:2])), given=given)

    def tensor(self, shape: Sequence[int], values: Sequence[int]) -> Tuple[_Value, Tuple[Any, ...]]:
        """An int32 tensor, and what it points to, which has to stay as long as it is used."""
        sizes, order = (ctypes.c_int32 * len(shape))(*shape), (ctypes.c_uint8 * len(shape))(*range(len(shape)))
        steps = [1]
        for one in reversed(shape[1:]):
            steps.insert(0, steps[0] * one)
        strides, data, made = (ctypes.c_int32 * len(shape))(*steps), (ctypes.c_int32 * len(values))(*values), _Tensor()
        zero = ctypes.c_int8(0)  # of fixed shape, on the CPU, which has no number
        count = ctypes.c_ssize_t(len(shape))
        given = (ctypes.byref(made), ctypes.c_int8(INT32), count, sizes, data, order, strides, zero, zero, zero)
        self._call["tensor"](*given)
        return _Value(ctypes.pointer(made), _TENSOR), (sizes, order, strides, data)

    def _check(self, folder: str) -> None:
        value, kept = self.tensor((2, 3), range(6))
        made = value.tensor.contents
        places = (made.sizes, made.dim_order, made.strides, made.data)
        numbers = (made.dim, made.numel, made.numel_bound, made.type)
        if places != tuple(ctypes.addressof(one) for one in kept) or numbers != (2, 6, 6, INT32):
            raise _other_release(folder)

    def _hear(self, when: int, level: int, file: bytes, function: bytes, line: int, message: Any, length: int) -> None:
        if bytes([level]) == _ERROR:
            self._said.append(ctypes.string_at(message, length).decode("utf-8", "replace"))


class Method:
    """A loaded method; its module lives as long as it does."""

    def __init__(self, library: Library, module: Any, path: str) -> None:
        self._library = library
        self._module = module
        self._path = path
        self.address = ctypes.c_void_p()

    def __call__(self, inputs: Sequence[Sequence[int]]) -> Tuple[Tuple[int, ...], Any]:
        """Rows of int32, one an input, each [1, length] → the first output's shape, and its float32 values where they
        are, until the next call. Raises DeviceError where a row is longer than the file takes."""
        library, kept = self._library, []
        for number, row in enumerate(inputs):
            value, own = library.tensor((1, len(row)), row)
            kept.append((value, own))
            if library.call("set_input", self.address, ctypes.byref(value), ctypes.c_size_t(number)):
                raise library.failed("run", len(row))
        if library.call("execute", self.address):
            raise library.failed("run", len(inputs[0]))
        output = library.call("get_output", self.address, ctypes.c_size_t(0)).contents
        if output.tag != _TENSOR or output.tensor.contents.type != FLOAT32:
            raise DeviceError("this ExecuTorch file does not answer with float32 logits", given=self._path)
        found = output.tensor.contents
        shape = tuple((ctypes.c_int32 * found.dim).from_address(found.sizes))
        return shape, (ctypes.c_float * found.numel).from_address(found.data)


def _other_release(folder: str) -> DeviceError:
    return DeviceError(
        "this release of ExecuTorch cannot be called without torch", given=folder, allowed="executorch 1.5"
    )
