"""The algorithms by name."""

from emulator.errors import nearest
from nodes.algorithms.common import Algorithm, Averaging, Step, Upload
from nodes.algorithms.epsl import EPSL
from nodes.algorithms.gapsl import GAPSL
from nodes.algorithms.psl import PSL
from nodes.algorithms.sfl import SFL
from nodes.algorithms.sl import SL

ALGORITHMS: dict[str, type[Algorithm]] = {"sl": SL, "sfl": SFL, "psl": PSL, "epsl": EPSL, "gapsl": GAPSL}

__all__ = ["ALGORITHMS", "EPSL", "GAPSL", "PSL", "SFL", "SL", "Algorithm", "Averaging", "Step", "Upload", "named"]


def named(name: str) -> type[Algorithm]:
    """The algorithm called `name`. Raises ValueError with the nearest name when there is none."""
    if name not in ALGORITHMS:
        raise ValueError(f"no algorithm is called '{name}'{nearest(name, list(ALGORITHMS))}")
    return ALGORITHMS[name]
