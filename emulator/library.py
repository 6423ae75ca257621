"""Finds and reads profiles: by name among the shipped ones, or by path."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from emulator import tracefile
from emulator.document import Document, Location
from emulator.errors import InputError, nearest
from emulator.happening import Happening
from emulator.plan import planned_scenario
from emulator.profiles import (
    DIRECTIONS,
    SPREAD,
    DeviceProfile,
    Experiment,
    LinkProfile,
    NodeSpec,
    Profile,
    Scenario,
    SegmentSpec,
    Testbed,
    TraceProfile,
)
from emulator.scenario import Fault
from emulator.trace import spread

KINDS: Mapping[str, type[Profile]] = {
    "devices": DeviceProfile,
    "links": LinkProfile,
    "testbeds": Testbed,
    "scenarios": Scenario,
    "experiments": Experiment,
}
TRACES = "traces"
"""The kind of which the files are tables (see `trace_text`)."""
P = TypeVar("P", bound=Profile)


def shipped() -> Path:
    """The folder of the profiles that come with edgebed."""
    return Path(str(resources.files("profiles")))


def names(kind: str) -> list[str]:
    """The shipped profiles of a kind ('devices', 'links', 'traces', 'testbeds', 'scenarios', 'experiments')."""
    return sorted(path.stem for path in (shipped() / kind).glob("*.csv" if kind == TRACES else "*.yaml"))


def find(kind: str, reference: str, beside: Path | None = None) -> Path:
    """The file that `reference` means: a shipped name, or a path (relative to the folder `beside`).

    Raises `InputError` with the nearest known name.
    """
    if is_path(kind, reference):
        path = Path(reference).expanduser()
        return path if path.is_absolute() or beside is None else beside / path
    if reference not in names(kind):
        raise InputError(f"unknown {kind.removesuffix('s')} '{reference}'{nearest(reference, names(kind))}")
    return shipped() / kind / f"{reference}.{'csv' if kind == TRACES else 'yaml'}"


def is_path(kind: str, reference: str) -> bool:
    """Whether `reference` means a file: it has a slash, or the suffix of one (of a trace: any)."""
    return "/" in reference or ("." in reference if kind == TRACES else reference.endswith((".yaml", ".yml")))


def read(kind: str, reference: str, beside: Path | None = None) -> tuple[Path, Document]:
    """The document that `reference` means, not yet checked."""
    path = find(kind, reference, beside)
    return path, Document.read(path)


def check(document: Document, model: type[P], name: str) -> P:
    """`document` as a profile of the given kind; raises `InputError` naming file, line and key."""
    try:
        profile = model.model_validate(document.data)
    except ValidationError as error:
        raise document.explain(error, model) from None
    return profile if profile.name else profile.model_copy(update={"name": name})


def load(model: type[P], reference: str, beside: Path | None = None) -> P:
    """The checked profile that `reference` means; of a link, with its traces in full.

    What testbeds and experiments refer to is not followed (see `resolve_testbed`).
    """
    kind = next(kind for kind, known in KINDS.items() if known is model)
    path, document = read(kind, reference, beside)
    return with_traces(check(document, model, path.stem), path.parent, partial(placed, document))


def placed(document: Document, location: Location) -> str:
    """Where the key at `location` stands: file, line and key."""
    return f"{document.where(location)}: {'.'.join(map(str, location))}"


def with_traces(profile: P, beside: Path | None, place: Callable[[list[str | int]], str]) -> P:
    """`profile` with the traces in full that a link in it follows; files are relative to the folder `beside`.

    `place` says where a key of the profile stands, for the error.
    """
    if not isinstance(profile, LinkProfile):
        return profile
    found = {}
    for direction, channel in (("up", profile.up), ("down", profile.down)):
        if isinstance(channel.trace, str):
            try:
                found[direction] = channel.model_copy(update={"trace": load_trace(channel.trace, direction, beside)})
            except InputError as error:
                raise InputError(f"{place([direction, 'trace'])}: {error}") from None
    return profile.model_copy(update=found) if found else profile


def load_trace(reference: str, direction: str, beside: Path | None = None) -> TraceProfile:
    """One direction ('up' or 'down') of the trace that `reference` means. Raises `InputError`."""
    path = find(TRACES, reference, beside)
    name = re.sub(r"[^\w.+-]", "_", path.name.removesuffix(".csv"))[:64]
    return TraceProfile(name=name, rows=tracefile.read(path).rows[direction])


def spread_out(profile: P, place: int) -> P:
    """`profile` for the node at `place`, from 0, of its testbed: of a link with its traces in full, where in them it
    begins. Both directions begin at the same place of traces of one length.
    """
    if not isinstance(profile, LinkProfile):
        return profile
    found = {}
    for direction, channel in (("up", profile.up), ("down", profile.down)):
        if isinstance(channel.trace, TraceProfile) and channel.offset == SPREAD:
            offset = spread(place, channel.trace.model.period)
            found[direction] = channel.model_copy(update={"offset": offset})
    return profile.model_copy(update=found) if found else profile


def resolve_testbed(
    testbed: Testbed, beside: Path | None = None, document: Document | None = None, at: Location = ()
) -> Testbed:
    """`testbed` with one named entry per node and every device and link in full, those of its segments included.

    Nodes without a name are called after their role, numbered from 1 where the role has several. Errors name the
    place in `document`, where the testbed stands at the location `at`.
    """
    total = {spec.role: 0 for spec in testbed.nodes}
    for spec in testbed.nodes:
        total[spec.role] += spec.count
    numbered = dict.fromkeys(total, 0)
    nodes: list[NodeSpec] = []
    taken: set[str] = set()
    for index, spec in enumerate(testbed.nodes):

        def place(*keys: str | int, index: int = index) -> str:
            location = [*at, "nodes", index, *keys]
            if document is None:
                return f"testbed '{testbed.name}': {'.'.join(map(str, location))}"
            return placed(document, location)

        device = _resolved(DeviceProfile, spec.device, beside, partial(place, "device"))
        link = _resolved(LinkProfile, spec.link, beside, partial(place, "link"))
        for _ in range(spec.count):
            numbered[spec.role] += 1
            name = spec.name or (spec.role if total[spec.role] == 1 else f"{spec.role}-{numbered[spec.role]}")
            if name in taken:
                raise InputError(f"{place('name')}: two nodes are named '{name}': names must differ")
            taken.add(name)
            try:
                own = spread_out(link, place=len(nodes))
                nodes.append(NodeSpec(role=spec.role, name=name, device=device, link=own, segment=spec.segment))
            except ValidationError as error:
                # What is refused in a file is refused in a name made of the role: a reserved one, or one too long.
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise InputError(f"{place('role')}: {reason}") from None

    def place_of(*keys: str | int) -> str:
        location = [*at, *keys]
        where = f"testbed '{testbed.name}'" if document is None else document.where(location)
        return f"{where}: {'.'.join(map(str, location))}"

    return testbed.model_copy(update={"nodes": nodes, "segments": _segments(testbed, taken, beside, place_of)})


def _segments(
    testbed: Testbed, nodes: set[str], beside: Path | None, place: Callable[..., str]
) -> dict[str, SegmentSpec]:
    """The segments of `testbed`, whose nodes have these names, with their links in full: each after those it is in."""
    segments = testbed.segments
    used: set[str] = set()
    for index, spec in enumerate(testbed.nodes):
        if spec.segment is not None:
            if spec.segment not in segments:
                raise InputError(f"{place('nodes', index, 'segment')}: {_no_segment(spec.segment, segments)}")
            used.update(_around(spec.segment, segments, place))
    found: dict[str, SegmentSpec] = {}
    for name in segments:
        if name in nodes:
            raise InputError(f"{place('segments', name)}: a node is named '{name}', too: names must differ")
        outwards = _around(name, segments, place)
        if name not in used:
            raise InputError(
                f"{place('segments', name)}: no node is in it: give one 'segment: {name}', or leave it out"
            )
        for each in reversed(outwards):
            if each not in found:
                link = _resolved(LinkProfile, segments[each].link, beside, partial(place, "segments", each, "link"))
                own = spread_out(link, place=len(nodes) + len(found))  # the places after the nodes'
                found[each] = segments[each].model_copy(update={"link": own})
    return found


def _around(name: str, segments: Mapping[str, SegmentSpec], place: Callable[..., str]) -> list[str]:
    """The segment `name` and those that it is in, outwards."""
    found = [name]
    while (parent := segments[found[-1]].segment) is not None:
        if parent not in segments:
            raise InputError(f"{place('segments', found[-1], 'segment')}: {_no_segment(parent, segments)}")
        if parent in found:
            ring = [*found[found.index(parent) :], parent]
            raise InputError(
                f"{place('segments', found[-1], 'segment')}: a segment cannot be in itself: {' in '.join(ring)}"
            )
        found.append(parent)
    return found


def _no_segment(name: str, segments: Mapping[str, SegmentSpec]) -> str:
    known = nearest(name, segments) if segments else ": it has none, list them under segments"
    return f"the testbed has no segment '{name}'{known}"


def _resolved(model: type[P], reference: str | P, beside: Path | None, place: Callable[..., str]) -> P:
    """The profile that `reference` means, or is; one that stands in the file itself is called so.

    `place` says where it stands, or a key in it.
    """
    if not isinstance(reference, str):
        named = reference if reference.name else reference.model_copy(update={"name": "inline"})
        return with_traces(named, beside, lambda keys: place(*keys))
    try:
        return load(model, reference, beside)
    except InputError as error:
        raise InputError(f"{place()}: {error}") from None


def load_testbed(reference: str, beside: Path | None = None) -> Testbed:
    """The testbed that `reference` means, resolved."""
    path, document = read("testbeds", reference, beside)
    return resolve_testbed(check(document, Testbed, path.stem), path.parent, document)


def load_experiment(reference: str, overrides: Mapping[str, Any] | None = None) -> tuple[Experiment, Document]:
    """The experiment that `reference` means, everything it refers to in full, and the document it came from.

    `overrides` maps dotted keys to values that take the place of the file's.
    """
    path, document = read("experiments", reference)
    for key, value in (overrides or {}).items():
        document.override(key, value)
    # What the command line names is relative to where the command runs.
    beside, scenes_beside = (None if key in (overrides or {}) else path.parent for key in ("testbed", "scenario"))
    experiment = check(document, Experiment, path.stem)
    if isinstance(experiment.testbed, Testbed):
        inline = experiment.testbed
        named = inline if inline.name else inline.model_copy(update={"name": experiment.name})
        testbed = resolve_testbed(named, beside, document, ["testbed"])
    else:
        testbed = load_testbed(experiment.testbed, beside)
    roles = {node.role for node in testbed.nodes}
    for role in sorted(roles - experiment.programs.keys()):
        raise InputError(
            f"{document.where(['programs'])}: programs: no program for the role '{role}' of testbed '{testbed.name}'"
        )
    for role in sorted(experiment.programs.keys() - roles):
        raise InputError(
            f"{document.where(['programs', role])}: programs.{role}: testbed '{testbed.name}' has no node of that role"
        )
    return _with_scenario(experiment.model_copy(update={"testbed": testbed}), document, scenes_beside), document


def _with_scenario(experiment: Experiment, document: Document, beside: Path | None) -> Experiment:
    """`experiment` (its testbed resolved, from `document`) with its scenario in full, which is possible there."""
    scenario = experiment.scenario
    if scenario is None:
        return experiment
    if isinstance(scenario, str):
        try:
            path, document = read("scenarios", scenario, beside)
        except InputError as error:
            raise InputError(f"{document.where(['scenario'])}: scenario: {error}") from None
        scenario, beside = check(document, Scenario, path.stem).scenario, path.parent
    try:
        whole = experiment.model_copy(update={"scenario": _in_full(scenario, beside)})
        planned_scenario(whole)
    except Fault as fault:
        raise fault.in_file(document) from None
    return whole


def check_scenario(document: Document, path: Path) -> None:
    """Whether `document`, the file at `path`, is a scenario, whatever the testbed. Raises `InputError`."""
    try:
        _in_full(check(document, Scenario, path.stem).scenario, path.parent)
    except Fault as fault:
        raise fault.in_file(document) from None


def _in_full(scenario: Sequence[Happening], beside: Path | None) -> list[Happening]:
    """`scenario` with the links, devices and traces that it names."""
    kinds: dict[str, type[LinkProfile] | type[DeviceProfile]] = {"link": LinkProfile, "device": DeviceProfile}
    found = []
    for place, entry in enumerate(scenario):
        update: dict[str, Any] = {}
        if entry.trace is not None:
            update["trace"] = {
                way: _trace_in(trace, way, beside, [place, "trace"]) for way, trace in entry.trace.items()
            }
        if isinstance(entry.link, dict):
            update["link"] = _with_traces_in(entry.link, beside, [place, "link"])
        for key, model in kinds.items():
            reference = getattr(entry, key)
            if isinstance(reference, str):
                try:
                    update[key] = load(model, reference, beside).model_dump(mode="json", exclude_none=True)
                except InputError as error:
                    raise Fault([place, key], str(error)) from None
        found.append(entry.model_copy(update=update))
    return found


def _with_traces_in(words: Mapping[str, Any], beside: Path | None, at: Location) -> dict[str, Any]:
    """The `words` of a link, or of some figures of one, with their traces in full."""
    found = dict(words)
    for way in DIRECTIONS:
        channel = words.get(way)
        if isinstance(channel, dict) and isinstance(channel.get("trace"), str):
            found[way] = {**channel, "trace": _trace_in(channel["trace"], way, beside, [*at, way, "trace"])}
    return found


def _trace_in(trace: Any, way: str, beside: Path | None, at: Location) -> Any:
    """One direction of a trace that a scenario speaks of at the location `at`, in full."""
    if not isinstance(trace, str):
        return trace
    try:
        return load_trace(trace, way, beside).model_dump(mode="json")
    except InputError as error:
        raise Fault(at, str(error)) from None
