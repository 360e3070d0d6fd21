"""The bad networks of a cluster: a proxy on each hop that the plan names."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from faults.chaos.plan import ChaosPlan, Network
from faults.chaos.recorder import Recorder
from faults.proxy.proxy import Proxy
from faults.proxy.words import ProxyFault
from shared.runtime import Runtime


def hops_of(plan: ChaosPlan) -> set[str]:
    """Every hop on which the plan breaks something, worker by worker."""
    named = {step.hop for step in plan.steps if isinstance(step, Network)}
    found = set()
    for hop in named:
        found |= set(members_of(hop, plan.targets.workers))
    return found


def members_of(hop: str, workers: int) -> list[str]:
    """`worker-gateway` is the hop of every worker."""
    if hop in ("worker-gateway", "worker-registry"):
        service = hop.removeprefix("worker-")
        return [f"worker-{n}-{service}" for n in range(workers)]
    return [hop]


class Networks:
    """Proxies by hop. Faults of several steps may be on at once."""

    def __init__(self, plan: ChaosPlan, recorder: Recorder, runtime: Runtime) -> None:
        self._plan = plan
        self._recorder = recorder
        self._runtime = runtime
        self._hops = hops_of(plan)
        self._proxies: dict[str, Proxy] = {}

    async def way(self, hop: str, upstream: tuple[str, int]) -> tuple[str, int]:
        """Where to connect for that hop: to a proxy if the plan breaks it, else directly."""
        if hop not in self._hops:
            return upstream
        proxy = Proxy(
            hop,
            upstream,
            self._runtime,
            random.Random(f"{self._plan.seed} {hop}"),
            told=self._told(hop),
        )
        await proxy.start()
        self._proxies[hop] = proxy
        return proxy.host, proxy.port

    async def spoil(self, hop: str, faults: Sequence[ProxyFault], for_s: float) -> bool:
        """These faults were on for a while, beside others; whether there is such a hop here."""
        hops = members_of(hop, self._plan.targets.workers)
        boards = [self._proxies[one].board for one in hops if one in self._proxies]
        if not boards:
            return False
        on = [(board, board.add(faults)) for board in boards]
        await self._runtime.sleep(for_s)
        for board, added in on:
            board.remove(added)
        return True

    def heal(self) -> None:
        """No fault is on."""
        for proxy in self._proxies.values():
            proxy.put(())

    async def stop(self) -> None:
        for proxy in self._proxies.values():
            await proxy.stop()

    def _told(self, hop: str) -> Callable[[str, dict[str, Any]], None]:
        def tell(kind: str, facts: dict[str, Any]) -> None:
            self._recorder.event(hop, "struck", kind=kind, **facts)

        return tell
