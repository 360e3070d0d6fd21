"""A part of the system, seen through a bad connection: every verb passes its two points.

The wrapper stands where the part itself would: on the caller's side of a hop before the client,
on the server's side before the service.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from enum import Enum
from typing import Any, Final, TypeVar, cast

from faults.injector import Injector
from faults.passing import Passing
from faults.plan import PointFault
from faults.points import HOPS, SERVERS, STREAMS, UPLOADS, WITHIN, Action
from shared.errors import ServiceError, Unavailable
from shared.protocol.gateway import ClaimReply, RunContext
from shared.services import Body

Part = TypeVar("Part")
KEPT_BYTES: Final = 16 * 1024 * 1024  # of a body that is sent twice


class Side(Enum):
    """Where on a hop we stand, and the moments that there are."""

    CALLER = ("before_send", "after_send")
    SERVER = ("received", "before_reply")


def around(part: Part, service: str, side: Side, injector: Injector) -> Part:
    """`part`, as `service` meets it: to call (CALLER), or in its own callers' stead (SERVER)."""
    hops = HOPS if side is Side.CALLER else SERVERS
    verbs = {verb for hop in hops if hop[0] == service for verb in hop[1]}
    return cast(Part, _Hop(part, service, side, frozenset(verbs), injector, Passing()))


class _Hop:
    """Looks like the part that it stands for, attribute by attribute."""

    def __init__(
        self,
        part: Any,
        service: str,
        side: Side,
        verbs: frozenset[str],
        injector: Injector,
        passing: Passing,
    ) -> None:
        self._part = part
        self._service = service
        self._side = side
        self._before, self._after = side.value
        self._verbs = verbs
        self._injector = injector
        self._passing = passing

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name in WITHIN:
            rest = (self._service, self._side, self._verbs, self._injector, self._passing)
            return _Hop(found, *rest)
        if name not in self._verbs:
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            if name in STREAMS:
                return self._streamed(name, found, args, kwargs)
            return self._called(name, found, args, kwargs)

        return called

    async def _called(
        self, verb: str, call: Callable[..., Awaitable[Any]], args: Any, kwargs: Any
    ) -> Any:
        facts = self._facts_of(args)
        fault = self._injector.strike(f"{self._service}.{verb}.{self._before}", facts)
        if fault is not None:
            args = await self._before_call(fault, verb, call, args, kwargs)
        answer = await call(*args, **kwargs)
        self._passing.ring()
        self._learn(answer)
        await self._injector(f"{self._service}.{verb}.{self._after}", facts)
        return answer

    async def _before_call(
        self, fault: PointFault, verb: str, call: Callable[..., Awaitable[Any]], args: Any, kw: Any
    ) -> Any:
        """What to call with, after the fault. Raises: the caller hears of no call."""
        match fault.action:
            case Action.DROP_REQUEST:
                raise Unavailable("a fault dropped the request", service=self._service)
            case Action.DROP_REPLY:
                await call(*args, **kw)
                raise Unavailable("a fault dropped the reply", service=self._service)
            case Action.DUPLICATE:
                first, args = await _twice(args) if verb in UPLOADS else (args, args)
                with suppress(ServiceError):
                    await call(*first, **kw)
            case Action.REORDER:
                await self._passing.another(fault.seconds)
            case Action.TRUNCATE | Action.CORRUPT:
                ask, body = args
                args = (ask, self._spoiled(body, fault))
            case _:
                await self._injector.act(fault)
        return args

    async def _streamed(self, verb: str, call: Callable[..., Body], args: Any, kwargs: Any) -> Body:
        facts = self._facts_of(args)
        fault = self._injector.strike(f"{self._service}.{verb}.{self._before}", facts)
        body = call(*args, **kwargs)
        if fault is not None:
            match fault.action:
                case Action.TRUNCATE | Action.CORRUPT:
                    body = self._spoiled(body, fault)
                case Action.DROP_REQUEST:
                    raise Unavailable("a fault dropped the request", service=self._service)
                case _:
                    await self._injector.act(fault)
        async for piece in body:
            yield piece
        await self._injector(f"{self._service}.{verb}.{self._after}", facts)

    async def _spoiled(self, body: Body, fault: PointFault) -> AsyncIterator[bytes]:
        """Its second half is missing; or a bit of its first piece is flipped."""
        is_first = True
        async for piece in body:
            if not is_first or not piece:
                yield piece
                continue
            is_first = False
            if fault.action is Action.TRUNCATE:
                yield piece[: len(piece) // 2]
                return
            yield self._injector.flipped(piece)

    def _facts_of(self, args: Any) -> dict[str, Any]:
        """Whom the call is about, as far as its message says."""
        ask = args[0] if args else None
        facts: dict[str, Any] = {"run": ask} if isinstance(ask, int) else {}
        for fact in ("worker", "run", "job", "attempt"):
            value = getattr(ask, f"{fact}_id", None)
            if value is not None:
                facts[fact] = value
        return facts

    def _learn(self, answer: object) -> None:
        known = answer.claims if isinstance(answer, ClaimReply) else ()
        for about in (answer,) if isinstance(answer, RunContext) else known:
            self._injector.learn(about.attempt_id, run=about.run_id, job=about.job_id)


async def _twice(args: Any) -> tuple[Any, Any]:
    """The same arguments for two calls; in the first, a body that is too long ends early."""
    ask, body = args
    kept, rest = [], None
    size = 0
    async for piece in body:
        kept.append(piece)
        size += len(piece)
        if size > KEPT_BYTES:
            rest = body
            break
    return (ask, _again(kept, None)), (ask, _again(kept, rest))


async def _again(kept: list[bytes], rest: Body | None) -> AsyncIterator[bytes]:
    for piece in kept:
        yield piece
    if rest is not None:
        async for piece in rest:
            yield piece
