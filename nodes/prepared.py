"""What the two programs have in hand when a run begins. PyTorch is imported only here, when they ask for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from emulator.room import keep_room
from nodes.config import Settings, read

if TYPE_CHECKING:
    from emulator import Node, Work
    from emulator.node import Array
    from nodes.rehearsal import RehearsedTrainer, RehearsedTraining
    from nodes.trainer import Trainer
    from nodes.training import Training

COUNTED_AHEAD = 64
"""Clients up to whose number the work of a step is counted, for each number of them, before the first round: a testbed
of processes has no more, and in virtual time counting costs nothing."""

ROOM = 48 * 2**20
"""Bytes: the heap of a client of VGG-16 (batches of 16) grew by 34 MiB in its first five rounds, and each 4 MiB took 6
to 13 ms of CPU time to get: up to twice what its backward pass takes."""


@dataclass(frozen=True)
class Server:
    """What the server works with. `samples`: how many each client holds."""

    settings: Settings
    samples: Sequence[int]
    training: "Training | RehearsedTraining"
    _counted: dict[tuple[str, int], "Work"] = field(default_factory=dict)

    def step_work(self, clients: int) -> "Work":
        """What the step for the batches of so many clients costs."""
        from nodes import work

        if ("step", clients) not in self._counted:
            self._counted["step", clients] = work.server_step(self.settings, clients)
        return self._counted["step", clients]

    def average_work(self, clients: int) -> "Work":
        """What the average of so many clients' models costs."""
        from nodes import work

        if ("average", clients) not in self._counted:
            self._counted["average", clients] = work.aggregate(self.settings, clients)
        return self._counted["average", clients]


@dataclass(frozen=True)
class Client:
    """What a client works with."""

    trainer: "Trainer | RehearsedTrainer"
    forward_work: "Work"
    backward_work: "Work"


def server(settings: Settings, ready: "Sequence[Mapping[str, Array]]") -> Server:
    """The server's half, from what each client said when it was ready; one that said nothing holds nothing."""
    samples = [int(held["samples"].item()) if held else 0 for held in ready]
    none = np.zeros(settings.workload.classes, np.int64)
    made = Server(settings, samples, _training(settings, samples, [held.get("labels", none) for held in ready]))
    fewest = len(ready) if settings.workload.participation is None or len(ready) > COUNTED_AHEAD else 1
    for clients in range(fewest, len(ready) + 1):
        made.step_work(clients)
        made.average_work(clients)
    return made


def client(node: "Node") -> Client:
    """This client's half."""
    from nodes import work

    settings = read(node.config)
    return Client(_trainer(node, settings), *work.client(settings))


def _training(settings: Settings, samples: Sequence[int], labels: "Sequence[Array]") -> "Training | RehearsedTraining":
    if settings.training:
        from nodes.practice import warm_up_server
        from nodes.training import Training

        warm_up_server(settings, samples)
        training = Training(settings, samples, np.array(labels, dtype=np.float64))
        keep_room(ROOM)
        return training
    from nodes.rehearsal import RehearsedTraining

    return RehearsedTraining(settings, samples)


def _trainer(node: "Node", settings: Settings) -> "Trainer | RehearsedTrainer":
    clients = node.peers["client"]
    place = clients.index(node.name), len(clients)
    if settings.training:
        from nodes.practice import warm_up_client
        from nodes.trainer import Trainer

        warm_up_client(settings)
        trainer = Trainer(settings, *place)
        keep_room(ROOM)
        return trainer
    from nodes.rehearsal import RehearsedTrainer

    return RehearsedTrainer(settings, *place)
