"""The self-test: a workload like any other, of known messages and known work, and what its timeline says of the
emulation."""

from emulator.selftest.program import node

__all__ = ["node"]
