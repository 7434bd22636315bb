"""Running an op: check the operands, run its kernel or its text, record a node where a gradient is wanted."""

from __future__ import annotations

from functools import cache
from typing import Any

from minivit.autograd.errors import DeviceError, DTypeError
from minivit.autograd.node import Node
from minivit.autograd.op import Op, Placeholder
from minivit.autograd.state import STATE, user_line
from minivit.autograd.tensor import Tensor
from minivit.backend import Array, Backend, Kernel, backend_of, find_kernel

_TENSOR_NAMESPACE: list[Any] = []


def set_tensor_namespace(namespace: Any) -> None:
    """Install `F` over Tensors (called once, by `minivit.ops`, which knows the primitives)."""
    _TENSOR_NAMESPACE[:] = [namespace]


def tensor_namespace() -> Any:
    """`F` over Tensors."""
    return _TENSOR_NAMESPACE[0]


def apply(op: type[Op], *inputs: Tensor | None, **attributes: Any) -> Tensor:
    """Run an op on Tensors: see `apply_with_saved`, of whose pair this is the first."""
    return _run(op, inputs, attributes)[0]


def apply_with_saved(op: type[Op], *inputs: Tensor | None, **attributes: Any) -> tuple[Tensor, Any]:
    """Run an op on Tensors, and hand out what its forward saves too.

    Parameters
    ----------
    op : subclass of Op
    *inputs : Tensor or None
        None stands for an optional input that is left out.
    **attributes
        Keywords of the op's forward: numbers, shapes, axes; never arrays.

    Returns
    -------
    output : Tensor
        With a node if this thread records and an input carries gradient.
    saved
        What the forward saved, of arrays; of Tensors inside `unrolled`. A kernel saves other things than the text, or
        nothing where no gradient is recorded.

    Raises
    ------
    DTypeError
        If floating-point operands differ in dtype, or the op changes it.
    DeviceError
        If operands live on different devices.
    """
    return _run(op, inputs, attributes)


def _run(op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> tuple[Tensor, Any]:
    if STATE.unrolling and not op.primitive and (not STATE.unrolled_ops or op.name in STATE.unrolled_ops):
        return _compose(op, inputs, attributes)
    hooks = STATE.hooks
    for hook in hooks:
        hook.before_forward(op, inputs, attributes)
    arrays: list[Array | None] = []
    carries_gradient = False
    for x in inputs:
        if x is None:
            arrays.append(None)
        else:
            arrays.append(x.data)
            carries_gradient = carries_gradient or x.requires_grad
    backend, dtype = _common_backend(op, inputs, arrays)
    kernel = find_kernel(op.name, backend.name, arrays, attributes)
    recorded = carries_gradient and STATE.recording
    result: Any
    try:
        if kernel is not None and kernel.evaluate is not None and not recorded:
            result = kernel.evaluate(*arrays, **attributes)
        elif kernel is not None:
            result = kernel.forward(*arrays, **attributes)
        else:
            result = op.forward(backend.F, *arrays, **attributes)
    except Exception as error:
        error.add_note(f"in op {op.name} on {_describe(inputs)}, called at {_line()}")
        raise
    array, saved = result if isinstance(result, tuple) else (result, None)
    if type(array) is not backend.array_type and not op.changes_device:
        array = backend.module.asarray(array)
    if dtype is not None and array.dtype is not dtype and array.dtype != dtype and not op.changes_dtype:
        raise DTypeError(
            f"op {op.name} was given {_describe(inputs)} and returned {array.dtype}, called at {_line()}; an op keeps "
            f"its inputs' dtype {dtype}. An integer operand promotes: convert it with tensor.astype(...). In the text "
            "of an op, so does a NumPy scalar: use Python numbers"
        )
    output = Tensor(array)
    if op.stops:
        output.node = Node(op, attributes, (), (), (), (), None, None, array, user_line(), STATE.module)
    elif recorded:
        _record(op, inputs, arrays, attributes, kernel, saved, output)
    for hook in hooks:
        hook.after_forward(op, inputs, output, attributes)
    return output, saved


def output_of(result: Any) -> Any:
    """The output of an op's forward, without what it saves."""
    return result[0] if isinstance(result, tuple) else result


def _compose(op: type[Op], inputs: tuple[Tensor | None, ...], attributes: dict[str, Any]) -> tuple[Tensor, Any]:
    """The op's text on Tensors; hooks are told where its inside begins and ends."""
    hooks = STATE.hooks
    for hook in hooks:
        hook.before_composed(op, inputs, attributes)
    try:
        result: Any = op.forward(tensor_namespace(), *inputs, **attributes)
    finally:
        for hook in hooks:
            hook.after_composed(op)
    return result if isinstance(result, tuple) else (result, None)


def _record(
    op: type[Op],
    inputs: tuple[Tensor | None, ...],
    arrays: list[Array | None],
    attributes: dict[str, Any],
    kernel: Kernel | None,
    saved: Any,
    output: Tensor,
) -> None:
    keeps = _keep_flags(op.input_names, op.variadic, op.keeps if kernel is None else kernel.keeps, len(inputs))
    edges: list[Node | Tensor | None] = []
    constants: list[Array | None] = []
    kept: list[Any] = []
    versions: list[int | None] = []
    for x, array, keep in zip(inputs, arrays, keeps, strict=True):
        if x is not None and x.requires_grad:
            edges.append(x.source)
            constants.append(None)
            versions.append(x.version)
        else:
            edges.append(None)
            constants.append(array)
            versions.append(None)
        kept.append(array if keep or array is None else Placeholder(array.shape, array.dtype))
    output.requires_grad = True
    output.node = Node(
        op,
        attributes,
        tuple(edges),
        tuple(constants),
        tuple(kept),
        tuple(versions),
        saved,
        kernel,
        output.data,
        user_line(inside=4),  # this function, `_run` and `apply` are ours
        STATE.module,
    )


@cache
def _keep_flags(names: tuple[str, ...], variadic: bool, keeps: tuple[str, ...], count: int) -> tuple[bool, ...]:
    if variadic:
        return (bool(keeps),) * count
    return tuple(name in keeps for name in names)


def _common_backend(op: type[Op], inputs: tuple[Tensor | None, ...], arrays: list[Array | None]) -> tuple[Backend, Any]:
    """The backend that all operands share, and the floating-point dtype that they share (None without one)."""
    backend: Backend | None = None
    array_type: Any = None
    device = ""
    dtype: Any = None
    for array in arrays:
        if array is None:
            continue
        if backend is None:
            backend, array_type = backend_of(array), type(array)
            device = backend.device_of(array)
        elif type(array) is not array_type or backend.device_of(array) != device:
            raise _device_error(op.name, inputs)
        own = array.dtype
        if own is not dtype and own.kind in "fc":
            if dtype is None:
                dtype = own
            elif own != dtype:
                raise DTypeError(
                    f"op {op.name} needs one floating-point dtype, got {_describe(inputs)}, called at {_line()}; "
                    "convert with tensor.astype(...)"
                )
    if backend is None:
        raise TypeError(f"op {op.name} got no tensor at all")
    return backend, dtype


def check_devices(name: str, *inputs: Tensor) -> None:
    """Hold the operands of what is computed outside an op to the same rule.

    Raises
    ------
    DeviceError
        If they are not all on one device.
    """
    if any(type(x.data) is not type(inputs[0].data) or x.device != inputs[0].device for x in inputs[1:]):
        raise _device_error(name, inputs)


def _device_error(name: str, inputs: tuple[Tensor | None, ...]) -> DeviceError:
    return DeviceError(
        f"op {name} needs all operands on one device, got {_describe(inputs)}, called at {_line()}; "
        "nothing moves by itself: use tensor.to(device) or model.to(device)"
    )


def _line() -> str:
    return ":".join(map(str, user_line()))


def _describe(inputs: tuple[Tensor | None, ...]) -> str:
    return ", ".join("None" if x is None else f"{x.dtype} {x.shape} on {x.device}" for x in inputs)
