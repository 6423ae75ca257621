"""The colours of figures: told apart by colour-blind readers and in print, on white and on dark.

They are Okabe and Ito's (https://jfly.uni-koeln.de/color/), the dark ones lightened. Nothing is told by colour alone:
series differ in shape and dash too, and marks say in words what they are.
"""

from collections.abc import Iterable, Sequence

DARK = {
    "#0072b2": "#4aa8e0",
    "#d55e00": "#ff8a3d",
    "#009e73": "#2fc79a",
    "#cc79a7": "#e39bc6",
    "#e69f00": "#f3b52f",
    "#56b4e9": "#8fd0f5",
    "#7f7f7f": "#9a9a9a",  # gaps
    "#d4d4d4": "#464b54",  # waiting
    "#222222": "#e8e8e8",  # text
    "#5a5a5a": "#b4b4b4",  # labels
    "#dddddd": "#3d4148",  # grid
    "#ffffff": "#16181d",  # page
}
"""Each colour of a figure on white, and what it becomes on dark."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, GREY, PALE, TEXT, LABEL, GRID, PAGE = DARK
SERIES: Sequence[str] = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, TEXT)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
DASHES: Sequence[Sequence[int]] = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 2, 1, 2), (3, 5))

STAGES = {
    "client_forward": SKY,
    "uplink": ORANGE,
    "server_step": PURPLE,
    "downlink": VERMILION,
    "client_backward": BLUE,
    "model_up": GREEN,
    "aggregate": PURPLE,
    "model_down": GREEN,
    "handover": GREEN,
    "wait": GREY,
    "waiting": PALE,
    "overhead": GREY,
}
"""The stages of split learning in a round's order: devices in blue, the server purple, links warm, models green."""


def stages(seen: Iterable[str]) -> dict[str, str]:
    """The colour of each stage, in the order of a round; a workload's own stages come first."""
    names = set(seen)
    own = sorted(names.difference(STAGES))
    colours = {name: SERIES[place % len(SERIES)] for place, name in enumerate(own)}
    return {**colours, **{name: colour for name, colour in STAGES.items() if name in names}}


def custom_properties(seen: Iterable[str]) -> dict[str, str]:
    """Of each stage the name of the custom property with its colour (see `css`)."""
    return {stage: f"--c-{colour[1:]}" for stage, colour in stages(seen).items()}


def css(*, dark: bool) -> str:
    """The colours of one scheme as CSS custom properties, named by those on white: `--c-0072b2` and so on."""
    return " ".join(f"--c-{light[1:]}: {on_dark if dark else light};" for light, on_dark in DARK.items())
