"""A YAML document that remembers where each key stands, so that an error can name file, line and key."""

import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError

from emulator.errors import InputError, nearest

Location = Sequence[str | int]


class _Constructor(yaml.SafeLoader):
    """Marks the place of what looks like a date or a number and is none, such as 2025-02-30."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise ConstructorError(None, None, str(error), node.start_mark) from None


class _Writer(yaml.SafeDumper):
    """Writes what many nodes have in common once: a trace, which may be long."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._texts: dict[str, str] = {}

    def represent_data(self, data: Any) -> yaml.Node:
        return super().represent_data(self._texts.setdefault(data, data) if _has_lines(data) else data)

    def ignore_aliases(self, data: Any) -> bool:
        return not _has_lines(data) and bool(super().ignore_aliases(data))


def _has_lines(data: object) -> bool:
    return isinstance(data, str) and "\n" in data


def _text(writer: yaml.SafeDumper, data: str) -> yaml.Node:
    return writer.represent_scalar("tag:yaml.org,2002:str", data, style="|" if _has_lines(data) else None)


_Writer.add_representer(str, _text)


class Document:
    """The content of a YAML file (`data`), its `source`, and the line of each key."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self._overridden: list[tuple[str, ...]] = []
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            if self._root is not None:
                self._refuse_duplicates(self._root)
            self.data: Any = None if self._root is None else _Constructor("").construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f"{source}:{mark.line + 1}" if mark else source
            raise InputError(f"{where}: not valid YAML: {error.problem or error.context}") from None
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise InputError(f"{source}:{line}: not valid YAML: {error.reason}: #x{error.character:04x}") from None
        except RecursionError:
            raise InputError(f"{source}: not valid YAML: nested too deeply, or in itself") from None
        if not isinstance(self.data, dict):
            raise InputError(f"{source}: holds no keys: write 'key: value' lines")

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Raises `InputError` when the file cannot be read."""
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: is not UTF-8 text") from None

    def override(self, key: str, value: Any) -> None:
        """Set the dotted `key`, as a command-line option does; errors then name the option, not a line."""
        steps = tuple(key.split("."))
        at = self.data
        for depth, step in enumerate(steps[:-1]):
            inner = at.setdefault(step, {})
            if not isinstance(inner, dict):
                raise InputError(f"{key}: '{'.'.join(steps[: depth + 1])}' is a value, it has no keys of its own")
            at = inner
        at[steps[-1]] = value
        self._overridden.append(steps)

    def where(self, location: Location) -> str:
        """`file:line` of the key at `location`, or the file and the option that set it."""
        keys = tuple(str(step) for step in location)
        for steps in self._overridden:
            if keys[: len(steps)] == steps:
                return f"{self.source} with {'.'.join(steps)} set on the command line"
        node, line = self._root, 0
        for step in location:
            if isinstance(node, yaml.MappingNode):
                # A step that is no key is the tag of a union: it has no place of its own in the file.
                for key, value in node.value:
                    if key.value == str(step):
                        node, line = value, key.start_mark.line
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
        return f"{self.source}:{line + 1}"

    def explain(
        self, error: ValidationError, model: type[BaseModel] | None, rename: Mapping[str, str] | None = None
    ) -> InputError:
        """The worst fault pydantic found in `model`, as one line: where, which key, what is wrong, what to do.

        An unknown key comes before all others: where one is misspelt, the right one is missing too.
        `rename` maps first keys of the model to what the file calls them.
        """
        location, message = worst_fault(error, model)
        if location and rename:
            location[0] = rename.get(str(location[0]), location[0])
        key = ".".join(self._keys(location))
        return InputError(f"{self.where(location)}: {key}: {message}" if key else f"{self.source}: {message}")

    def _keys(self, location: Location) -> Iterator[str]:
        """The steps of `location` that are keys or places in a list, without pydantic's tags for a union's members."""
        at = self.data
        for depth, step in enumerate(location):
            if not isinstance(at, dict | list):
                return  # a value has no keys
            inside = at if isinstance(at, dict) else dict(enumerate(at))
            if step in inside:
                at = inside[step]
            elif step in ("name", "profile") and depth < len(location) - 1:
                continue
            yield str(step)

    def _refuse_duplicates(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                self._refuse_duplicates(value)
                if not isinstance(key, yaml.ScalarNode):
                    continue  # a list or a map as a key: the constructor refuses it
                if key.value in seen:
                    raise InputError(f"{self.source}:{key.start_mark.line + 1}: {key.value}: stands here twice")
                seen.add(key.value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_duplicates(item)


def worst_fault(error: ValidationError, model: type[BaseModel] | None) -> tuple[list[str | int], str]:
    """Where in `model` the fault is that says most, and what is wrong there, and how many more there are."""
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    location = [*fault["loc"]]
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = f"unknown key{nearest(str(location[-1]), fields_at(model, location[:-1]))}"
    elif fault["type"] == "missing":
        message = "is missing"
    return location, message + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def fields_at(model: type[BaseModel] | None, location: Location) -> list[str]:
    """The keys that `model` knows at `location`."""
    if model is None:
        return []
    for step in location:
        field = model.model_fields.get(str(step))
        if field is not None:
            inner = next(_models_in(field.annotation), None)
            if inner is None:
                return []
            model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def as_yaml(data: Mapping[str, Any]) -> str:
    """`data` as YAML text, keys in their own order.

    A text of several lines stands in full where it comes first, as it is, and is referred to where it comes again.
    """
    return yaml.dump(dict(data), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110)
