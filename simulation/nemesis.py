"""What goes wrong, when, and for how long: drawn from the seed, healed at the end."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from faults.plan import PointFault, PointPlan
from faults.points import BYTES, Action
from simulation.cluster import GATEWAY, JOBSTORE, LEASE_S, NODES, REGISTRY, WORKERS, Cluster
from simulation.process import DISK_S
from simulation.usurper import usurp
from simulation.workload import has_tasks

CHAOS_S: Final = 60.0
GAP_S: Final = (0.5, 4.0)
DOWN_S: Final = (0.2, 6.0)
HEAL_CHANCE: Final = 0.35
LINKS: Final = (
    *((worker, GATEWAY) for worker in WORKERS),
    *((worker, REGISTRY) for worker in WORKERS),
    (GATEWAY, JOBSTORE),
)
ILLS: Final = ("dead", "cut_off", "mumbles", "wrong_clock", "flaps")
ON_MESSAGES: Final = (
    Action.ERROR,
    Action.DELAY,
    Action.DROP_REQUEST,
    Action.DROP_REPLY,
    Action.DUPLICATE,
    Action.REORDER,
    Action.TRUNCATE,
    Action.CORRUPT,
)
VERBS: Final = ("claim", "refuse", "run", "heartbeat", "finish")
VERBS_OF_TASKS: Final = (*VERBS, "set_xcom", "set_xcom", "set_xcom", "get_xcom", "new_callback")
DISK_FAULTS: Final = (
    ("jobstore.store.before_commit", Action.FSYNC_ERROR),
    ("jobstore.store.before_commit", Action.DISK_FULL),
    ("jobstore.file.append", Action.DISK_FULL),
    ("jobstore.file.append", Action.TRUNCATE),
    ("jobstore.file.sync", Action.FSYNC_ERROR),
    ("jobstore.file.publish", Action.FSYNC_ERROR),
    ("registry.store.before_commit", Action.FSYNC_ERROR),
)


class Nemesis:
    """Breaks things for CHAOS_S virtual seconds, then mends everything."""

    def __init__(self, cluster: Cluster) -> None:
        self.faults: Counter[str] = Counter()
        self._cluster = cluster
        self._loop = cluster.loop
        self._network = cluster.network
        self._chance = random.Random(f"nemesis-{cluster.loop.seed}")
        self._verbs = VERBS_OF_TASKS if has_tasks(cluster.loop.seed) else VERBS

    async def rage(self, for_s: float = CHAOS_S) -> None:
        """Faults come and go; in the end all nodes run, all links work, all clocks agree."""
        ends_at = self._loop.now + for_s
        while self._loop.now < ends_at:
            await asyncio.sleep(self._chance.uniform(*GAP_S))
            kind, strike = self._chance.choice(FAULTS)
            target = strike(self)
            if target is not None:
                self.faults[kind] += 1
                self._cluster.history.event("fault", kind=kind, target=target)
            if self._chance.random() < HEAL_CHANCE:
                self._network.heal()
        self.mend()

    def mend(self) -> None:
        """Nothing is wrong with anything."""
        for name, node in self._cluster.nodes.items():
            node.machine.wall_offset_s = node.machine.wall_drift = 0.0
            self._cluster.spoil(name, PointPlan())
            node.machine.is_disk_slow = False
            node.fault_points_left = None
            node.is_gone = False
            if node.process is not None:
                node.process.paused_until = 0.0
            self._cluster.boot(name)
        self._network.heal()
        self._cluster.history.event("mended")

    async def afflict(self, sick: Sequence[str]) -> None:
        """What these workers have never heals: they are dead, cut off, flap, or speak badly."""
        ills = {name: self._chance.choice(ILLS) for name in sick}
        for name, ill in ills.items():
            self.faults[f"sick_{ill}"] += 1
            self._cluster.history.event("fault", kind=f"sick_{ill}", target=name)
            if ill == "dead":
                self._cluster.nodes[name].is_gone = True
                self._cluster.cut_power(name)
                self._cluster.history.event("fault", kind="cut_power", target=name)
            elif ill == "cut_off":
                other = self._chance.choice((GATEWAY, REGISTRY))
                self._network.cut |= {(name, other), (other, name)}
            elif ill == "mumbles":
                action = self._chance.choice((Action.DROP_REPLY, Action.DROP_REQUEST))
                fault = PointFault(at="worker.*.before_send", action=action, probability=0.7)
                self._cluster.spoil(name, PointPlan(faults=(fault,)))
            elif ill == "wrong_clock":
                self._cluster.nodes[name].machine.wall_offset_s = -7_200.0
        flapping = [name for name, ill in ills.items() if ill == "flaps"]
        while True:
            await asyncio.sleep(self._chance.uniform(1.0, 6.0))
            for name in flapping:
                self._cluster.kill(name)
                self._boot_later(name, self._chance.uniform(0.1, 3.0))

    # -- faults: each says whom it hit, or None when there was nobody to hit --------------------

    def kill(self) -> str | None:
        return self._bring_down(self._cluster.kill)

    def cut_power(self) -> str | None:
        return self._bring_down(self._cluster.cut_power)

    def _bring_down(self, how: Callable[[str], None]) -> str | None:
        name = self._chance.choice(NODES)
        if not self._cluster.is_alive(name):
            return None
        how(name)
        self._boot_later(name)
        return name

    def kill_at_point(self) -> str | None:
        """Dies at one of the named moments ahead, or a little later: a disk's moment later."""
        name = self._chance.choice((JOBSTORE, JOBSTORE, JOBSTORE, REGISTRY, *WORKERS))
        if not self._cluster.is_alive(name):
            return None
        node = self._cluster.nodes[name]
        node.fault_points_left = self._chance.randint(1, 12)
        node.fault_delay_s = self._chance.choice((0.0, self._chance.uniform(0.0, DISK_S[1])))
        self._boot_later(name, self._chance.uniform(3.0, 8.0))
        return name

    def _boot_later(self, name: str, delay: float | None = None) -> None:
        delay = self._chance.uniform(*DOWN_S) if delay is None else delay
        self._loop.after(delay, self._loop.world, self._cluster.boot, name)

    def cut_link(self) -> str:
        a, b = self._chance.choice(LINKS)
        self._network.cut |= {(a, b), (b, a)}
        return f"{a}-{b}"

    def cut_one_way(self) -> str:
        link = self._chance.choice(LINKS)
        a, b = link if self._chance.random() < 0.5 else link[::-1]
        self._network.cut.add((a, b))
        return f"{a}>{b}"

    def pause_briefly(self) -> str | None:
        return self._pause(self._chance.choice(NODES), self._chance.uniform(0.5, LEASE_S / 2))

    def pause_past_lease(self) -> str | None:
        """A worker wakes up and does not know that its jobs are another's by now."""
        seconds = self._chance.uniform(1.1 * LEASE_S, 2.5 * LEASE_S)
        names = self._cluster.busy_workers() or (JOBSTORE, *WORKERS)
        return self._pause(self._chance.choice(names), seconds)

    def _pause(self, name: str, seconds: float) -> str | None:
        process = self._cluster.living(name)
        if process is None:
            return None
        process.paused_until = max(process.paused_until, self._loop.now + seconds)
        self._cluster.history.event("pause", process=process.label, seconds=seconds)
        return name

    def step_clock(self) -> str:
        name = self._chance.choice(NODES)
        self._cluster.nodes[name].machine.wall_offset_s += self._chance.choice(
            (-3600, -20, 20, 3600)
        )
        return name

    def skew_clock(self) -> str:
        """From now on it runs too fast, or too slowly."""
        name = self._chance.choice(NODES)
        self._cluster.nodes[name].machine.wall_drift = self._chance.uniform(-0.5, 0.5)
        return name

    def spoil_messages(self) -> str:
        """Calls of some kind are lost, doubled, late, out of order or cut short, now and then."""
        name = self._chance.choice(NODES)
        faults = tuple(self._message_fault(name) for _ in range(self._chance.randint(1, 3)))
        plan = PointPlan(seed=self._chance.randrange(1 << 32), faults=faults)
        self._cluster.spoil(name, plan)
        return f"{name}: " + ", ".join(f"{f.action} {f.at}" for f in faults)

    def _message_fault(self, name: str) -> PointFault:
        service = "worker" if name in WORKERS else name
        moments = {"worker": ("before_send",), GATEWAY: ("before_send", "received")}
        moment = self._chance.choice(moments.get(service, ("received",)))
        action = self._chance.choice(ON_MESSAGES)
        verb = "*"
        if service != REGISTRY and self._chance.random() < 0.5:
            verb = self._chance.choice(self._verbs)
        if action in BYTES:
            verb = "*"
            if service == REGISTRY:
                action = Action.DELAY
        return PointFault(
            at=f"{service}.{verb}.{moment}",
            action=action,
            seconds=self._chance.choice((0.05, 0.5, 3.0)),
            probability=self._chance.choice((0.1, 0.3, 1.0)),
            until_s=self._chance.uniform(2.0, 12.0),
        )

    def hurt_disk(self) -> str:
        """A write of a service fails once: it gives up, or says so."""
        at, action = self._chance.choice(DISK_FAULTS)
        name = at.split(".")[0]
        fault = PointFault(at=at, action=action, times=1, skip=self._chance.randint(0, 20))
        self._cluster.spoil(name, PointPlan(faults=(fault,)))
        return f"{name}: {action} {at}"

    def hand_over(self) -> str | None:
        """The worker ends, and its jobs run on for its successor."""
        name = self._chance.choice(WORKERS)
        return name if self._cluster.send_home(name, drains=False) else None

    def drain(self) -> str | None:
        name = self._chance.choice(WORKERS)
        return name if self._cluster.send_home(name, drains=True) else None

    def usurp(self) -> str:
        """Somebody else takes the name of a worker."""
        name = self._chance.choice(WORKERS)
        usurp(self._cluster, name)
        return name

    def reset_connections(self) -> str | None:
        name = self._chance.choice(NODES)
        process = self._cluster.living(name)
        if process is None:
            return None
        self._network.reset_connections(process)
        return name

    def slow_link(self) -> str:
        a, b = self._chance.choice(LINKS)
        self._network.slow[a, b] = self._network.slow[b, a] = (0.2, 3.0)
        return f"{a}-{b}"

    def slow_disk(self) -> str:
        name = self._chance.choice((JOBSTORE, REGISTRY))
        machine = self._cluster.nodes[name].machine
        machine.is_disk_slow = not machine.is_disk_slow
        return name


FAULTS: Final[tuple[tuple[str, Callable[[Nemesis], str | None]], ...]] = tuple(
    (strike.__name__, strike)
    for strike in (
        Nemesis.kill,
        Nemesis.cut_power,
        Nemesis.kill_at_point,
        Nemesis.kill_at_point,  # twice: what falls between an effect and its answer
        Nemesis.cut_link,
        Nemesis.cut_one_way,
        Nemesis.pause_briefly,
        Nemesis.pause_past_lease,
        Nemesis.pause_past_lease,  # twice: what makes fences stale
        Nemesis.step_clock,
        Nemesis.skew_clock,
        Nemesis.spoil_messages,
        Nemesis.spoil_messages,
        Nemesis.hurt_disk,
        Nemesis.hand_over,
        Nemesis.drain,
        Nemesis.usurp,
        Nemesis.reset_connections,
        Nemesis.slow_link,
        Nemesis.slow_disk,
    )
)
