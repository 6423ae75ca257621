"""Rates that change as those of a radio do, made up from a seed: Markov-modulated, with published means.

A chain of states decides how fast the link is by and large: each step of `step` seconds it leaves its state with
probability `step / lasts`, for one of the states in `to`, by their weights. Within a state the rate is the state's own
times two factors, both log-normal with mean 1: `slow`, drawn anew every `hold` seconds, and `fast`, drawn anew every
step; it never exceeds the `peak`. Both directions share the states and the slow factor, each has a fast factor of its
own. Rates are written in three digits.

The same seed gives the same trace on every machine: only `random.random()` is drawn from, which Python keeps stable.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from emulator import trace_text
from emulator.errors import InputError, nearest
from emulator.units import TIME, show

_NORMAL = NormalDist()


@dataclass(frozen=True)
class State:
    """Mean rates in Mbit/s, how many seconds it lasts on average, and what comes after it."""

    up: float
    down: float
    lasts: float
    to: Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """What the rates are drawn from; the first state is the one it begins in."""

    about: str
    step: float
    states: Mapping[str, State]
    slow: float
    hold: float
    fast: float
    peak: tuple[float, float]

    def usual(self) -> tuple[float, float]:
        """Mean Mbit/s, up and down, of a trace without end, before its peak is cut off."""
        share = dict.fromkeys(self.states, 1 / len(self.states))
        for _ in range(1000):  # of all visits, until it no longer changes
            after = dict.fromkeys(self.states, 0.0)
            for name, state in self.states.items():
                for other, weight in state.to.items():
                    after[other] += share[name] * weight / sum(state.to.values())
            share = {name: (share[name] + after[name]) / 2 for name in share}
        seconds = {name: share[name] * state.lasts for name, state in self.states.items()}
        up = sum(seconds[name] * state.up for name, state in self.states.items())
        down = sum(seconds[name] * state.down for name, state in self.states.items())
        return up / sum(seconds.values()), down / sum(seconds.values())


LTE = Model(
    about="LTE-like, on the move: good, middling and poor cover, and short outages",
    step=0.2,
    states={
        "middling": State(7.1, 27.9, 8.0, {"good": 0.5, "poor": 0.45, "outage": 0.05}),
        "good": State(11.9, 46.4, 8.0, {"middling": 1.0}),
        "poor": State(2.6, 8.8, 5.0, {"middling": 0.9, "outage": 0.1}),
        "outage": State(0.0, 0.0, 1.0, {"poor": 0.5, "middling": 0.5}),
    },
    slow=0.35,
    hold=1.0,
    fast=0.25,
    peak=(50.0, 150.0),
)
"""Means 7.6 up and 29.5 Mbit/s down: average 4G connections of the United Kingdom (Ofcom, Mobile Matters 2023). Outages
of 1 s on average: Winstein et al., "Stochastic Forecasts Achieve High Throughput and Low Delay over Cellular Networks"
(NSDI 2013), whose model of such links leaves an outage at a rate of 1 a second. Peaks: LTE category 4 (3GPP TS 36.306).
That there are four states, how long they last, and both factors: assumed."""

WIFI = Model(
    about="Wi-Fi-like, 802.11n far from the access point with neighbours: rate steps, and a shared air",
    step=0.2,
    states={
        "usual": State(8.0, 12.0, 6.0, {"clear": 0.4, "weak": 0.2, "busy": 0.4}),
        "clear": State(10.7, 18.0, 4.0, {"usual": 0.8, "busy": 0.2}),
        "weak": State(5.3, 6.0, 2.0, {"usual": 1.0}),
        "busy": State(4.0, 6.0, 2.0, {"usual": 0.7, "clear": 0.3}),
    },
    slow=0.15,
    hold=0.6,
    fast=0.2,
    peak=(29.9, 29.9),
)
"""Rates are those of the modulation and coding schemes of IEEE 802.11n, one stream of 20 MHz (MCS 1, 3 and 4: 13, 26
and 39 Mbit/s down; one step slower up), times an efficiency of 46 % down and 41 % up (assumed, as in the link
wifi-4-far); `busy` is the usual rate with half of the air for somebody else. Peaks: MCS 7, 65 Mbit/s, at 46 %. How
long states last, how likely they are, and both factors: assumed."""

SATELLITE = Model(
    about="Satellite-like, low orbit: another satellite or beam every 15 s, a loaded cell at times, short outages",
    step=0.5,
    states={
        "clear": State(7.8, 69.0, 40.0, {"loaded": 0.7, "outage": 0.3}),
        "loaded": State(5.9, 49.0, 25.0, {"clear": 0.9, "outage": 0.1}),
        "outage": State(0.0, 0.0, 1.0, {"clear": 1.0}),
    },
    slow=0.3,
    hold=15.0,
    fast=0.15,
    peak=(30.0, 250.0),
)
"""Means 7.2 up and 62.5 Mbit/s down: median Starlink connections of the United States (Ookla, second quarter of 2022).
Reconfigured every 15 s, all users at once: Mohan et al., "A Multifaceted Look at Starlink Performance" (WWW 2024). How
long states last, outages, factors and peaks: assumed."""

MODELS = {"lte": LTE, "wifi": WIFI, "satellite": SATELLITE}


def make(name: str, seed: int, length: float) -> str:
    """The text of a trace of `length` seconds after the model called `name`. Raises `InputError`."""
    if name not in MODELS:
        raise InputError(f"unknown model '{name}'{nearest(name, MODELS)}")
    model = MODELS[name]
    most = min(trace_text.LONGEST, trace_text.PIECES // 2 * model.step)
    if not 10 * model.step <= length <= most:
        raise InputError(
            f"a trace of {show(length, TIME, 4)} is not to be had of the model '{name}': give it a length of "
            f"{show(10 * model.step, TIME)} to {show(most, TIME, 4)}"
        )
    times = [round(number * model.step, 6) for number in range(math.ceil(length / model.step - 1e-9))]
    up, down = _rates(model, random.Random(f"{name} {seed}"), len(times))  # noqa: S311
    about = [model.about, f'edgebed profiles trace {name} --seed {seed} --length "{show(length, TIME)}"']
    return trace_text.write(times, {"up Mbit/s": up, "down Mbit/s": down}, length, about)


def _rates(model: Model, source: random.Random, steps: int) -> tuple[list[float], list[float]]:
    up: list[float] = []
    down: list[float] = []
    now = next(iter(model.states))
    held = max(1, round(model.hold / model.step))
    slow = 1.0
    for step in range(steps):
        state = model.states[now]
        if step % held == 0:
            slow = _factor(source, model.slow)
        for rates, mean, peak in ((up, state.up, model.peak[0]), (down, state.down, model.peak[1])):
            rates.append(float(f"{min(peak, mean * slow * _factor(source, model.fast)):.3g}"))
        if source.random() < model.step / state.lasts:
            now = _drawn(source, state.to)
    return up, down


def _factor(source: random.Random, deviation: float) -> float:
    """Log-normal, with mean 1; `deviation` is that of its logarithm."""
    normal = _NORMAL.inv_cdf(max(source.random(), 1e-12))
    return math.exp(deviation * normal - deviation**2 / 2)


def _drawn(source: random.Random, weights: Mapping[str, float]) -> str:
    at = source.random() * sum(weights.values())
    for name, weight in weights.items():
        at -= weight
        if at < 0:
            return name
    return [*weights][-1]
