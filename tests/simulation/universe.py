"""An empty universe for tests of the simulator itself: a loop, a network, a few machines."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from simulation.loop import SimulatedLoop
from simulation.network import Network
from simulation.process import Machine, Process
from simulation.world import simulated


@dataclass
class Universe:
    loop: SimulatedLoop
    network: Network
    machines: dict[str, Machine] = field(default_factory=dict)

    def process(self, name: str) -> Process:
        """The next incarnation of `name`."""
        return self.loop.start_process(self.machines.setdefault(name, Machine(name)))

    def play(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.run_until_complete(self.loop.world.spawn(scenario(), "scenario"))


@contextmanager
def universe(seed: int = 0) -> Iterator[Universe]:
    loop = SimulatedLoop(seed)
    network = Network(loop)
    with simulated(loop):
        yield Universe(loop, network)
