"""Records as plain values for msgpack or JSON, and back: every value that comes in is checked for its type."""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args


class Record(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


T = TypeVar("T", bound=Record)
Reader = Callable[[object], Any]
"""Gives the value in its type; a `TypeError` says of what type it must be."""


class Form(Generic[T]):
    """What the records of one class look like as plain values; values at their default are left out."""

    def __init__(self, what: str, cls: type[T], readers: Mapping[str, Reader]) -> None:
        """`what` is the class in the words of the errors; `readers` has the reader of each field."""
        self._what = what
        self._cls = cls
        self._readers = dict(readers)
        self._defaults = [(field.name, field.default) for field in fields(cls)]
        self._needed = {name for name, default in self._defaults if default is MISSING}

    def write(self, record: T) -> dict[str, Any]:
        """The values of `record` by name."""
        return {name: value for name, default in self._defaults if (value := getattr(record, name)) != default}

    def read(self, values: object) -> T:
        """The record that `write` gave the values of. `ValueError` names the field that is unknown, missing or wrong,
        or says what the class itself does not accept."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{self._what}: not a set of fields but {reprlib.repr(values)}")
        checked = {}
        for name, value in values.items():
            try:
                checked[name] = self._readers[name](value)
            except KeyError:
                raise ValueError(f"{self._what}: unknown field {reprlib.repr(name)}") from None
            except TypeError as wanted:
                said = f"field '{name}' must be {wanted}, not {reprlib.repr(value)}"
                raise ValueError(f"{self._what}: {said}") from None
        if not self._needed <= checked.keys():
            missing = next(name for name, _ in self._defaults if name in self._needed - checked.keys())
            raise ValueError(f"{self._what}: field '{missing}' is missing")
        return self._cls(**checked)


def a_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text")
    return value


def a_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def a_count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("a whole number")
    return value


def a_number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("a number")
    try:
        return float(value)
    except OverflowError:
        raise TypeError("a number in range") from None


def optional(reader: Reader) -> Reader:
    """Also None."""
    return lambda value: None if value is None else reader(value)


def one_of(literal: object) -> Reader:
    """One of the words of a `Literal`."""
    words = get_args(literal)

    def read(value: object) -> object:
        if value not in words:
            raise TypeError(" or ".join(words))
        return value

    return read
