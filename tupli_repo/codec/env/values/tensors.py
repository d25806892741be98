"""torch: tensors and their kin as fields and back, and what says what a module is.

Invariant: a tensor comes back with the same dtype, shape and bits, on the CPU, and with the same
order of its axes in memory, as ``numeric`` keeps it. No gradient, no hook and no generator's state
is stored. A module's registries keep their order, which says in what order it computes; what torch
keeps in each module for itself is not written, so documents do not depend on its version.

To encode needs no import: a value of theirs exists only where torch is loaded.
"""

import collections
import functools
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    UnrepresentableError,
    ValueType,
    expect,
    expect_int,
    refused,
)
from tupli_repo.optional import require

_DTYPES = frozenset(
    {"bool", "uint8", "int8", "int16", "int32", "int64", "bfloat16"}
    | {"float16", "float32", "float64", "complex64", "complex128"}
)
_MAX_EDGE = 1 << 40
_BUFFER_MARKS = frozenset({"_is_buffer", "persistent"})
_REGISTRIES = frozenset({"_buffers", "_modules", "_parameters"})
_WHOLE = frozenset({"training", "_non_persistent_buffers_set"})
"""What of a blank module's attributes is configuration, beside the registries."""


def value_type_of_torch(value: object) -> ValueType | None:
    """Return the value type of ``value`` if its class is one of the loaded torch's own."""
    torch = _loaded()
    if torch is None:
        return None
    exact = _by_type(torch).get(type(value))
    if exact is None and isinstance(value, torch.Tensor):
        return refused(
            "torch.Tensor",
            f"a '{type(value).__qualname__}', which is its own kind of a torch.Tensor",
            "use a plain tensor: as_subclass(torch.Tensor)",
        )
    return exact


def is_module(value: object) -> bool:
    """Say whether ``value`` is a ``torch.nn.Module``."""
    torch = _loaded()
    return torch is not None and isinstance(value, torch.nn.Module)


def is_plain_module(value: object) -> bool:
    """Say whether ``value`` is a module whose attributes are its state.

    What ``torch.nn.Module`` itself does in ``__getstate__``, in some versions, is done here.
    """
    if not is_module(value):
        return False
    of_torch = getattr(_loaded().nn.Module, "__getstate__", None)
    return getattr(type(value), "__getstate__", None) is of_torch


def module_attributes(held: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield those attributes of a module that say what it is, its registries in their order.

    Raises:
        UnrepresentableError: Something is hooked to the module.
    """
    own = _blank().keys()
    for name, value in held:
        if name == "_compiled_call_impl":
            continue
        if name not in own or name == "training":
            yield name, value
        elif name in _REGISTRIES and type(value) is dict:
            if value:
                yield name, collections.OrderedDict(value)
        elif name in _REGISTRIES or name in _WHOLE:
            if value:
                yield name, value
        elif value:
            raise UnrepresentableError(
                f"a module with something in its '{name}'", "register hooks when it is used"
            )


def with_blanks(held: dict[str, Any]) -> dict[str, Any]:
    """Return a module's attributes with those that ``module_attributes`` left out."""
    return {**_blank(), **held}


def _blank() -> dict[str, Any]:
    return dict(vars(_required().nn.Module()))


def _loaded() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and hasattr(torch, "__version__") else None


def _required() -> Any:
    return require("torch", needed_for="an environment that holds a torch value")


@functools.cache
def _by_type(torch: types.ModuleType) -> dict[type, ValueType]:
    return {
        torch.Tensor: TORCH_TYPES["torch.Tensor"],
        torch.nn.Parameter: TORCH_TYPES["torch.nn.Parameter"],
        torch.Size: TORCH_TYPES["torch.Size"],
        torch.dtype: TORCH_TYPES["torch.dtype"],
        torch.device: TORCH_TYPES["torch.device"],
        torch.Generator: TORCH_TYPES["torch.Generator"],
    }


def _dtype_name(dtype: Any) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise UnrepresentableError(f"the dtype '{dtype}' of torch", "use float32, or bfloat16")
    return name


def _dtype_of(name: object) -> Any:
    if expect(name, str) not in _DTYPES:
        raise BadFieldsError(f"not a dtype of torch: '{name!s:.30}'")
    return getattr(_required(), str(name))


def _check_device(device: Any) -> None:
    if device.type != "cpu":
        raise UnrepresentableError(
            f"something of torch on the device '{device}'", "move it to the CPU: .cpu()"
        )


def _tensor_fields(tensor: Any) -> Fields:
    torch = _loaded()
    _check_device(tensor.device)
    name = _dtype_name(tensor.dtype)
    if tensor.layout is not torch.strided or tensor.is_nested:
        raise UnrepresentableError("a sparse or nested tensor", "make it dense: to_dense()")
    if not tensor.is_leaf:
        raise UnrepresentableError(
            "a tensor in the midst of a computation", "detach it: tensor.detach()"
        )
    if vars(tensor).keys() - _BUFFER_MARKS:
        raise UnrepresentableError("a tensor with attributes of its own", "keep them beside it")
    plain = tensor.detach().resolve_conj().resolve_neg()
    if name == "bfloat16":
        plain = plain.view(torch.int16)  # numpy has no such dtype
    fields: Fields = {"dtype": name, "values": plain.numpy()}
    if tensor.requires_grad:
        fields["requires_grad"] = True
    return fields


def _values_of(fields: Fields) -> Any:
    torch = _required()
    dtype = _dtype_of(fields["dtype"])
    values = expect(fields["values"], np.ndarray)
    held_as = "int16" if dtype is torch.bfloat16 else fields["dtype"]
    if values.dtype != np.dtype(held_as):
        raise BadFieldsError(f"'{values.dtype}' does not hold '{fields['dtype']}'")
    writeable = values if values.flags.writeable else np.array(values, order="K")
    tensor = torch.from_numpy(writeable).clone()  # of its own, and unlike numpy's with all strides
    return tensor.view(dtype) if dtype is torch.bfloat16 else tensor


def _wants_gradient(fields: Fields) -> bool:
    return "requires_grad" in fields and expect(fields["requires_grad"], bool)


def _tensor_of(fields: Fields) -> Any:
    return _values_of(fields).requires_grad_(_wants_gradient(fields))


def _parameter_of(fields: Fields) -> Any:
    values = _values_of(fields)
    return _required().nn.Parameter(values, requires_grad=_wants_gradient(fields))


def _neutral_tensor(tensor: Any) -> Any:
    zeros = _loaded().zeros_like(tensor.detach())
    return zeros.requires_grad_(tensor.requires_grad)


def _neutral_parameter(parameter: Any) -> Any:
    return _loaded().nn.Parameter(_neutral_tensor(parameter).detach(), parameter.requires_grad)


def _size_of(fields: Fields) -> Any:
    edges = [expect_int(edge, low=0, high=_MAX_EDGE) for edge in expect(fields["shape"], list)]
    return _required().Size(edges)


def _device_fields(device: Any) -> Fields:
    _check_device(device)
    return {"type": "cpu"}


def _device_of(fields: Fields) -> Any:
    if expect(fields["type"], str) != "cpu":
        raise BadFieldsError("the device 'cpu' expected")
    return _required().device("cpu")


def _generator_fields(generator: Any) -> Fields:
    _check_device(generator.device)
    return {}


TORCH_TYPES: dict[str, ValueType] = {
    value_type.name: value_type
    for value_type in (
        ValueType(
            "torch.Tensor",
            ("dtype", "values", "requires_grad?"),
            _tensor_fields,
            _tensor_of,
            shared=True,
            neutral=_neutral_tensor,
        ),
        ValueType(
            "torch.nn.Parameter",
            ("dtype", "values", "requires_grad?"),
            _tensor_fields,
            _parameter_of,
            shared=True,
            neutral=_neutral_parameter,
        ),
        ValueType("torch.Size", ("shape",), lambda size: {"shape": list(size)}, _size_of),
        ValueType(
            "torch.dtype",
            ("name",),
            lambda dtype: {"name": _dtype_name(dtype)},
            lambda fields: _dtype_of(fields["name"]),
        ),
        ValueType("torch.device", ("type",), _device_fields, _device_of),
        ValueType(
            "torch.Generator",
            (),
            _generator_fields,
            lambda _: _required().Generator(),
            shared=True,
        ),
    )
}
"""By the name a document gives them."""
