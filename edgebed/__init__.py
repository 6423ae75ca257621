"""Edgebed's results, for those who look at them in Python: `edgebed.load(run_dir)`."""

from emulator.report.frames import Frames, load

__all__ = ["Frames", "load"]
