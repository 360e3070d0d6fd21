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

LATE_S: Final = 600.0  # an execution token still counts that long: leases are the authority


@dataclass(frozen=True, slots=True)
class Caller:
    """The worker that asks, and the one attempt that its token is good for, if it is bound."""

    worker_id: WorkerId
    attempt_id: AttemptId | None


Scopes = frozenset[Scope]


@dataclass(frozen=True, slots=True)
class Presented:
    """What a call brings along to say who asks."""

    token: str | None
    worker: str  # for whom a gateway asks; empty from anybody else


Identify = Callable[[Presented, Scopes], Caller]

OWN: Final[Scopes] = frozenset({Scope.WORKER})  # in the worker's own name: claim, heartbeats
START: Final[Scopes] = frozenset({Scope.WORKLOAD})  # run, refuse
# What is done for a running attempt. Its worker's own token will do as well: heartbeats would
# give it an execution token anyway, and a worker that was restarted has no other.
ATTEMPT: Final[Scopes] = frozenset({Scope.EXECUTION, Scope.WORKER})

_SERVICE: Final[Scopes] = frozenset({Scope.SERVICE})
_CLIENT: Final[Scopes] = frozenset({Scope.CLIENT})


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

    def identify(by: Presented, scopes: Scopes) -> Caller:
        who = verifier.verify(by.token, Audience.GATEWAY, scopes, grace_s=LATE_S)
        return Caller(WorkerId(who.subject), who.attempt_id)

    return identify


def through_gateway(verifier: Verifier) -> Identify:
    """At the job service: a gateway asks for a worker whose token it has checked."""

    def identify(by: Presented, _: Scopes) -> Caller:
        verifier.verify(by.token, Audience.JOBSTORE, _SERVICE)
        return Caller(WorkerId(plain_id(by.worker, WORKER)), None)

    return identify


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
