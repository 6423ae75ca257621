"""Programs by name: `package.module:function`, as an ASGI server names its application."""

import importlib
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from emulator.errors import InputError

Program = Callable[[Any], Awaitable[None]]


def load(name: str) -> Program:
    """The program `name`; modules of the current folder are found too. Raises `InputError` naming what is missing."""
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        # Python's safe path: what is installed, such as in an image, comes before what lies in the current folder.
        sys.path.insert(len(sys.path) if sys.flags.safe_path else 0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and (module_name + ".").startswith(missing + "."):
            raise InputError(f"program '{name}': no module '{missing}' here or among the installed packages") from None
        raise InputError(f"program '{name}': {_where(error)}{type(error).__name__}: {_reason(error)}") from error
    program = getattr(module, attribute, None)
    if not callable(program):
        raise InputError(f"program '{name}': module '{module_name}' has no function '{attribute}'")
    return program  # type: ignore[no-any-return]


def settings_of(name: str) -> type[BaseModel] | None:
    """The pydantic model `Settings` of the program's module, which a node's config must satisfy, if it has one."""
    load(name)
    settings = getattr(sys.modules[name.partition(":")[0]], "Settings", None)
    return settings if isinstance(settings, type) and issubclass(settings, BaseModel) else None


def checker(name: str) -> Callable[[dict[str, Any], dict[str, list[str]]], None] | None:
    """The function `check(config, peers)` of the program's module, if it has one.

    It raises `ValueError` for a run that cannot work, as far as words alone tell.
    """
    return _hook(name, "check")


def preparer(name: str) -> Callable[[dict[str, Any], dict[str, list[str]]], None] | None:
    """The function `prepare(config, peers)` of the program's module, if it has one.

    It has what a run needs there before it starts, such as data, and raises `ValueError` where that cannot be, or
    where what is there shows that the run cannot work.
    """
    return _hook(name, "prepare")


def subject_of(name: str) -> Callable[[dict[str, Any]], str] | None:
    """The function `subject(config)` of the program's module, if it has one: what a calibration is of, in words."""
    return _hook(name, "subject")


def sizer(name: str) -> Callable[[dict[str, Any]], list[dict[str, Any]]] | None:
    """The function `sizes(config)` of the program's module, if it has one.

    It gives configurations of the same subject with ever less work, the given one first.
    """
    return _hook(name, "sizes")


def computation(name: str) -> Callable[[dict[str, Any]], Callable[[], object]] | None:
    """The function `computation(config)` of the program's module, if it has one.

    It gives a function that computes what a node of this program does in a round, alone and on made-up data.
    """
    return _hook(name, "computation")


def dispensable(name: str) -> Callable[[dict[str, Any]], bool] | None:
    """The function `dispensable(config)` of the program's module, if it has one.

    It says whether the others go on when a node of this program dies. They receive a message of kind `gone` from it.
    """
    return _hook(name, "dispensable")


def synchrony(name: str) -> Callable[[dict[str, Any]], bool] | None:
    """The function `synchronous(config)` of the program's module, if it has one.

    It says whether what is learnt in a round is the same however long anything takes.
    """
    return _hook(name, "synchronous")


def _hook(name: str, function: str) -> Callable[..., Any] | None:
    load(name)
    hook = getattr(sys.modules[name.partition(":")[0]], function, None)
    return hook if callable(hook) else None


def _where(error: Exception) -> str:
    """The line of the user's own code at which importing a module failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    last = frames[-1]
    return "" if last.filename == __file__ else f"{Path(last.filename).name}, line {last.lineno}: "


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
