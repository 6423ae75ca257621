"""Options that several commands have."""

from typing import Any

import yaml

from emulator.errors import InputError


def setting(text: str) -> tuple[str, Any]:
    """Key and value of `--set KEY=VALUE`. Raises `InputError` where it is none."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {text}: write KEY=VALUE, such as workload.batch_size=32")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(f"--set {text}: '{value}' is not a YAML value") from None
