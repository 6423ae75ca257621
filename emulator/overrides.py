"""What a command line sets of an experiment, in place of what its file says."""

from collections.abc import Iterable
from typing import Any

import yaml

from emulator.errors import InputError


def set_keys(settings: Iterable[str]) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, by dotted key. Raises `InputError` for what is no such pair."""
    return dict(_setting(text) for text in settings)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text}: write KEY=VALUE, such as workload.batch_size=32")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: '{value}' is not a YAML value") from None
