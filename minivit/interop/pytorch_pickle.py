"""A reader of the one pickle that a PyTorch file holds, which can make nothing but numbers, texts, lists and dicts.

A pickle is a program for a small stack machine, and two of its instructions call whatever Python function they name.
This machine knows the instructions that `torch.save` writes for a dict of tensors. It never imports or calls what a
file names: a name is looked up in a short table, and stands for one of the four things below. Any other name, and any
other instruction, is refused.

==============================================  =================================================
``collections.OrderedDict``                     a dict
``torch._utils._rebuild_tensor_v2``             a `TensorEntry`: where a tensor's numbers lie
``torch._utils._rebuild_parameter``             the `TensorEntry` inside
``torch.FloatStorage``, ``HalfStorage``, ...    the type of those numbers
==============================================  =================================================

See https://docs.python.org/3/library/pickletools.html for the instructions.
"""

from __future__ import annotations

import pickletools
from typing import Any, NamedTuple

MOST_INSTRUCTIONS = 500_000  # a tensor takes about 30; one byte may make a dict, which takes 64
STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
ORDERED_DICT = "collections OrderedDict"
TENSOR = "torch._utils _rebuild_tensor_v2"
PARAMETER = "torch._utils _rebuild_parameter"
KNOWN = {ORDERED_DICT, TENSOR, PARAMETER, *(f"torch {name}" for name in STORAGES)}


class RefusedError(ValueError):
    """An instruction or a name that is none of the few known ones."""


class Name(str):
    """A function or class that the file names; it is only ever compared."""

    __slots__ = ()


class StorageEntry(NamedTuple):
    """A block of numbers of one type, in a member of the archive."""

    dtype: str
    key: str
    size: int


class TensorEntry(NamedTuple):
    """A view of a block: element [i, j, ...] is at offset + i strides[0] + j strides[1] + ..."""

    storage: StorageEntry
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_pickle(data: bytes) -> Any:
    """What the pickle describes: dicts, lists, tuples, numbers, texts, `TensorEntry`s.

    Raises
    ------
    RefusedError
        For a name or instruction that is not known.
    ValueError
        If the pickle is damaged.
    """
    machine = Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count == MOST_INSTRUCTIONS:
                raise ValueError(f"it has more than {MOST_INSTRUCTIONS} instructions")
            machine.step(opcode.name, argument)
        (result,) = machine.stack
    except RefusedError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"its pickle is damaged: {error}") from error
    return result


class Machine:
    """The stack, the places where lists and dicts began on it, and the memo of what may be used again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """One instruction."""
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8":
                self.stack.append(argument)
            case "NONE":
                self.stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self._pop(int(name[-1]) if name[-1].isdigit() else 0)))
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE":
                self.stack.append(tuple(self._since_mark()))
            case "APPEND":
                (item,) = self._pop(1)
                self._top(list).append(item)
            case "APPENDS":
                items = self._since_mark()
                self._top(list).extend(items)
            case "SETITEM":
                self._set_items(self._pop(2))
            case "SETITEMS":
                self._set_items(self._since_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_known(argument))
            case "STACK_GLOBAL":
                self.stack.append(_known(" ".join(self._pop(2))))
            case "BINPERSID":
                self.stack.append(_storage(*self._pop(1)))
            case "REDUCE":
                self.stack.append(_made(*self._pop(2)))
            case "BUILD":  # what a state dict says of its modules' versions
                self._pop(1)
                self._top(dict)
            case _:
                raise RefusedError(f"the instruction {name}")

    def _pop(self, count: int) -> list[Any]:
        at = len(self.stack) - count
        if at < (self.marks[-1] if self.marks else 0):
            raise IndexError("the stack is empty")
        parts = self.stack[at:]
        del self.stack[at:]
        return parts

    def _since_mark(self) -> list[Any]:
        at = self.marks.pop()
        parts = self.stack[at:]
        del self.stack[at:]
        return parts

    def _top(self, kind: type) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise TypeError(f"expected a {kind.__name__} on the stack")
        return self.stack[-1]

    def _set_items(self, pairs: list[Any]) -> None:
        keys, values = pairs[::2], pairs[1::2]
        if not all(type(key) in (str, int) for key in keys):  # a nested tuple may take for ever to be hashed
            raise TypeError("a key is neither a text nor a whole number")
        self._top(dict).update(zip(keys, values, strict=True))


def _known(name: str) -> Name:
    if name not in KNOWN:
        raise RefusedError(name.replace(" ", "."))
    return Name(name)


def _storage(parts: Any) -> StorageEntry:
    """From (``"storage"``, type, key, device, size)."""
    kind, storage, key, _, size = parts
    if kind != "storage" or not isinstance(storage, Name) or not isinstance(key, str) or not _is_size(size):
        raise TypeError("a storage is malformed")
    dtype = STORAGES.get(storage.removeprefix("torch "))
    if dtype is None:
        raise TypeError(f"{storage} is no type of numbers")
    return StorageEntry(dtype, key, size)


def _made(name: Any, arguments: Any) -> Any:
    """What the call of a known name stands for."""
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise TypeError("a call of what is no name")
    if name == ORDERED_DICT and not arguments:
        return {}
    if name == PARAMETER and arguments and isinstance(arguments[0], TensorEntry):
        return arguments[0]
    if name != TENSOR:
        raise TypeError(f"a call of {name} with {len(arguments)} arguments")
    storage, offset, shape, strides = arguments[:4]
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, StorageEntry) or len(shape) != len(strides) or not all(map(_is_size, sizes)):
        raise TypeError("a tensor is malformed")
    return TensorEntry(storage, offset, tuple(shape), tuple(strides))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63
