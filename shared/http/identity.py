"""Which token opens which door, at each service.

Workers speak to the gateway with their own tokens; the gateway speaks to the job service with a
service token and says for which worker; people carry a role.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from shared.errors import BadRequest, Forbidden, Unauthenticated
from shared.http.wire import WORKER
from shared.ids import AttemptId, WorkerId
from shared.tokens import Audience, Identity, Role, Scope, Verifier

# What is done for a live lease is judged by the lease, not by the clock: an outage of the registry
# or of the job service may outlast a token, and must not stop a job that runs. So such verbs take
# a token up to a day after its end. A claim takes none that has ended.
LATE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Caller:
    """The worker that asks, and the one attempt that its token is good for, if it is bound."""

    worker_id: WorkerId
    attempt_id: AttemptId | None


@dataclass(frozen=True, slots=True)
class Door:
    """Which tokens open it, and how long after their end they still do."""

    scopes: frozenset[Scope]
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Presented:
    """What a call brings along to say who asks."""

    token: str | None
    worker: str  # for whom a gateway asks; empty from anybody else


Identify = Callable[[Presented, Door], Caller]

OWN: Final = Door(frozenset({Scope.WORKER}))  # in the worker's own name: claim
BEAT: Final = Door(frozenset({Scope.WORKER}), LATE_S)
START: Final = Door(frozenset({Scope.WORKLOAD}))  # run, refuse
# What is done for a running attempt. Its worker's own token will do as well: heartbeats would
# give it an execution token anyway, and a worker that was restarted has no other.
ATTEMPT: Final = Door(frozenset({Scope.EXECUTION, Scope.WORKER}), LATE_S)

_SERVICE: Final = frozenset({Scope.SERVICE})
_CLIENT: Final = frozenset({Scope.CLIENT})


def bearer(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer`, the only place where one is looked for."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer":
        raise Unauthenticated("Authorization must read 'Bearer TOKEN'", check="malformed")
    return token.strip()


def presented(request: web.Request) -> Presented:
    return Presented(bearer(request), request.headers.get(WORKER, ""))


def workers_own(verifier: Verifier) -> Identify:
    """At the gateway: a worker is whom its token names."""

    def identify(by: Presented, door: Door) -> Caller:
        who = verifier.verify(by.token, Audience.GATEWAY, door.scopes, grace_s=door.late_s)
        return Caller(WorkerId(who.subject), who.attempt_id)

    return identify


def through_gateway(verifier: Verifier) -> Identify:
    """At the job service: a gateway asks for a worker whose token it has checked."""

    def identify(by: Presented, _: Door) -> Caller:
        verifier.verify(by.token, Audience.JOBSTORE, _SERVICE)
        return Caller(WorkerId(plain_id(by.worker, WORKER)), None)

    return identify


def check_attempt(caller: Caller, attempt_id: AttemptId) -> None:
    if caller.attempt_id not in (None, attempt_id):
        raise Forbidden("the token is for another attempt", check="attempt")


def require_role(
    verifier: Verifier, request: web.Request, audience: Audience, needed: Role
) -> Identity:
    """The person who asks. Forbidden: their role does not include `needed`."""
    who = verifier.verify(bearer(request), audience, _CLIENT)
    if who.role is None or not who.role.includes(needed):
        has = "no role" if who.role is None else f"the role {who.role}"
        raise Forbidden(
            f"this needs the role {needed}, and the token has {has}",
            check="role",
            needed=needed.value,
        )
    return who


def plain_id(text: str, what: str) -> str:
    """An id from outside: short, printable ASCII."""
    if not (0 < len(text) <= 100 and text.isascii() and text.isprintable()):
        raise BadRequest(f"{what} must be 1 to 100 printable ASCII characters", field=what)
    return text
