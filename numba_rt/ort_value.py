"""OrtValue and IOBinding: values and bound buffers under onnxruntime's names."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from numba_rt.dtypes import NUMPY_TO_ONNX, STRING, from_onnx, ort_type_name
from numba_rt.errors import InputError


class OrtValue:
    """An array, or a list of arrays, that belongs to a session's inputs or outputs."""

    def __init__(self, value: Any, made_by: tuple[object, str] | None = None) -> None:
        self._value = value
        self.made_by = made_by
        """What stands for the session that made the value, and the output's name."""

    @property
    def value(self) -> Any:
        """The array or list itself."""
        return self._value

    def peek(self) -> Any:
        """The contents, to be read only; an array need not be contiguous."""
        return self._value

    def fetched(self) -> Any:
        """The contents, contiguous."""
        return self._value

    @classmethod
    def ortvalue_from_numpy(
        cls, numpy_obj: np.ndarray, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """A value with the contents of an array."""
        _check_device(device_type)
        return cls(np.array(numpy_obj, order="C"))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Sequence[int], element_type: Any, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """A value of undefined contents."""
        _check_device(device_type)
        return cls(np.empty(tuple(shape), _dtype(element_type)))

    @classmethod
    def from_dlpack(cls, data: Any, is_bool_tensor: bool = False) -> OrtValue:
        """A value that shares the memory of a tensor of another library."""
        array = np.from_dlpack(data)
        return cls(array.view(np.bool_) if is_bool_tensor else array)

    def numpy(self) -> np.ndarray:
        """The array."""
        self._tensor()
        return self.value

    def shape(self) -> list[int]:
        """Sizes."""
        return list(self._tensor().shape)

    def data_type(self) -> str:
        """The type, such as tensor(float)."""
        held = self.peek()
        if isinstance(held, np.ndarray):
            return f"tensor({ort_type_name(held.dtype)})"
        element = held[0].dtype if held else np.dtype(np.float32)
        return f"seq(tensor({ort_type_name(element)}))"

    def element_type(self) -> int:
        """The element type's number in TensorProto."""
        return NUMPY_TO_ONNX[self._tensor().dtype]

    def device_name(self) -> str:
        """Where the memory is."""
        return "cpu"

    def data_ptr(self) -> int:
        """Address of the first element."""
        return self.numpy().ctypes.data

    def tensor_size_in_bytes(self) -> int:
        """Bytes of the elements."""
        return self._tensor().nbytes

    def update_inplace(self, np_arr: np.ndarray) -> None:
        """Write other contents of the same shape and dtype."""
        mine = self.numpy()
        if np_arr.shape != mine.shape or np_arr.dtype != mine.dtype:
            raise InputError(
                f"found {np_arr.dtype}{list(np_arr.shape)}: expected {mine.dtype}{list(mine.shape)}"
            )
        mine[...] = np_arr

    def has_value(self) -> bool:
        """Whether it holds something: optionals may be empty."""
        return self.peek() is not None

    def is_tensor(self) -> bool:
        """Whether it is an array."""
        return isinstance(self.peek(), np.ndarray)

    def is_tensor_sequence(self) -> bool:
        """Whether it is a list of arrays."""
        return isinstance(self.peek(), list)

    def is_sparse_tensor(self) -> bool:
        """Never: there are none."""
        return False

    def _tensor(self) -> np.ndarray:
        held = self.peek()
        if not isinstance(held, np.ndarray):
            raise InputError("the value is a sequence: only tensors have an array")
        return held

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.numpy().__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.numpy().__dlpack_device__()


class _Runnable(Protocol):
    def get_outputs(self) -> list[Any]: ...


class IOBinding:
    """Inputs and outputs bound to memory before a run."""

    def __init__(self, session: _Runnable) -> None:
        self._known = [o.name for o in session.get_outputs()]
        self._inputs: dict[str, Any] = {}
        self.outputs: dict[str, np.ndarray | None] = {}
        """Bound outputs by name; None where the run provides the memory."""
        self._results: list[OrtValue] = []

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        """Feed an array."""
        self._inputs[name] = arr_on_cpu

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """Feed memory by its address; it must live until the run is over."""
        _check_device(device_type)
        self._inputs[name] = _memory(buffer_ptr, element_type, shape)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Feed a value."""
        self._inputs[name] = ortvalue

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """Ask for an output, in memory of its own or at an address."""
        _check_device(device_type)
        self._check_output(name)
        self.outputs[name] = None if buffer_ptr is None else _memory(buffer_ptr, element_type, shape or ())

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """Ask for an output in the memory of a value."""
        self._check_output(name)
        self.outputs[name] = ortvalue.numpy()

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs."""
        self.outputs.clear()
        self._results = []

    def synchronize_inputs(self) -> None:
        """Accepted: memory of the processor needs no waiting."""

    def synchronize_outputs(self) -> None:
        """Accepted: memory of the processor needs no waiting."""

    def get_outputs(self) -> list[OrtValue]:
        """Results of the last run."""
        return list(self._results)

    def copy_outputs_to_cpu(self) -> list[Any]:
        """Results of the last run as arrays."""
        return [x.fetched() for x in self._results]

    def inputs(self) -> Mapping[str, Any]:
        """What is bound: arrays and OrtValues."""
        return self._inputs

    def take(self, results: list[OrtValue]) -> None:
        """Put the results of a run where outputs are bound."""
        for i, (name, memory) in enumerate(self.outputs.items()):
            if memory is None or memory is (made := results[i].value):
                continue
            if memory.shape != made.shape or memory.dtype != made.dtype:
                found = f"{memory.dtype}{list(memory.shape)}"
                expected = f"{made.dtype}{list(made.shape)}"
                raise InputError(f"output {name!r} is bound to {found}: expected {expected}")
            memory[...] = made
            results[i] = OrtValue(memory, results[i].made_by)
        self._results = results

    def _check_output(self, name: str) -> None:
        if name not in self._known:
            raise InputError(f"unknown output {name!r}: the model makes {self._known}")


def fed(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays to feed for what is bound."""
    return {name: x.fetched() if isinstance(x, OrtValue) else x for name, x in inputs.items()}


def _check_device(device_type: str) -> None:
    if device_type.lower() != "cpu":
        raise InputError(f"device {device_type!r} is not available: expected 'cpu'")


def _dtype(element_type: Any) -> np.dtype[Any]:
    dtype = from_onnx(element_type) if isinstance(element_type, int) else np.dtype(element_type)
    if dtype is None or dtype == STRING:
        raise InputError(f"element type {element_type!r} has no memory of a fixed size")
    return dtype


def _memory(address: int, element_type: Any, shape: Sequence[int]) -> np.ndarray:
    """An array over memory that belongs to the caller."""
    dtype = _dtype(element_type)
    size = math.prod(shape)
    if size == 0:
        return np.empty(tuple(shape), dtype)
    raw = (ctypes.c_uint8 * (size * dtype.itemsize)).from_address(address)
    return np.ctypeslib.as_array(raw).view(dtype).reshape(tuple(shape))
