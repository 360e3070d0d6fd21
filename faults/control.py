"""`/v1/faults` on a service that was started with --allow-faults: see, put and take away faults."""

from aiohttp import web

from faults.injector import Injector
from faults.plan import PointFault, PointPlan
from faults.points import Action
from shared.http.identity import require_role
from shared.http.operation import Key, operation
from shared.http.server import read_message, reply
from shared.protocol.base import Message
from shared.tokens import Audience, Role, Verifier


class FaultView(Message):
    """A fault in force, and how often it struck."""

    fault: PointFault
    strikes: int


class Injected(Message):
    """What was done at a point, and how often, since the daemon began."""

    point: str
    action: Action
    times: int


class FaultList(Message):
    seed: int
    faults: tuple[FaultView, ...]  # in force
    injected: tuple[Injected, ...]  # by these and by earlier ones


def add_fault_routes(
    app: web.Application, injector: Injector, verifier: Verifier, audience: Audience
) -> None:
    """Only an admin may break things."""

    def view() -> FaultList:
        faults = tuple(FaultView(fault=f, strikes=strikes) for f, strikes in injector.strikes)
        injected = tuple(
            Injected(point=point, action=action, times=times)
            for (point, action), times in sorted(injector.injected.items())
        )
        return FaultList(seed=injector.plan.seed, faults=faults, injected=injected)

    @operation(Key.PERSON, {200: FaultList}, role=Role.ADMIN, name="see_faults")
    async def see(request: web.Request) -> web.Response:
        """200: the faults in force."""
        require_role(verifier, request, audience, Role.ADMIN)
        return reply(view())

    @operation(Key.PERSON, {200: FaultList}, role=Role.ADMIN, body=PointPlan, name="put_faults")
    async def put(request: web.Request) -> web.Response:
        """200: these are in force, and no others."""
        require_role(verifier, request, audience, Role.ADMIN)
        injector.put(await read_message(request, PointPlan))
        return reply(view())

    @operation(Key.PERSON, {200: FaultList}, role=Role.ADMIN, name="remove_faults")
    async def take_away(request: web.Request) -> web.Response:
        """200: none is in force."""
        require_role(verifier, request, audience, Role.ADMIN)
        injector.put(PointPlan())
        return reply(view())

    app.add_routes(
        [
            web.get("/v1/faults", see, allow_head=False),
            web.put("/v1/faults", put),
            web.delete("/v1/faults", take_away),
        ]
    )
