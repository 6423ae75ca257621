"""The usual exchange, whose accuracy does not depend on the times."""

from typing import Any

from tests.unit.virtual_programs import client, server

__all__ = ["client", "server", "synchronous"]


def synchronous(config: dict[str, Any]) -> bool:
    return True
