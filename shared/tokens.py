"""Who may do what, as signed tokens (JWT, EdDSA).

A worker token names a worker; a workload token opens `run` and `refuse` of one attempt; an
execution token opens the verbs of one running attempt; a service token speaks for the gateway; a
client token carries a person's role. Which verb takes which is in `shared/http/identity.py`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import Forbidden, Unauthenticated
from shared.ids import AttemptId, WorkerId
from shared.runtime import Runtime

ISSUER: Final = "drawbar"
ALGORITHM: Final = "EdDSA"  # the only one: a token does not get to choose
MAX_TOKEN_CHARS: Final = 4_096
MAX_CLOCK_SKEW_S: Final = 60.0  # between the machine that minted and the one that verifies
CACHED_TOKENS: Final = 4_096  # about 3 MB

WORKER_S: Final = 3_600.0
WORKLOAD_S: Final = 600.0  # a claim lapses within seconds; this only bounds a stolen one
EXECUTION_S: Final = 600.0
SERVICE_S: Final = 3_600.0
CLIENT_S: Final = 30 * 86_400.0


class Audience(StrEnum):
    GATEWAY = "gateway"
    REGISTRY = "registry"
    JOBSTORE = "jobstore"


class Scope(StrEnum):
    WORKER = "worker"
    WORKLOAD = "workload"
    EXECUTION = "execution"
    SERVICE = "service"
    CLIENT = "client"


class Role(StrEnum):
    """What a person may do; each role may do all that those before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        return RANK[self] >= RANK[other]


RANK: Final = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a genuine token says. Times are seconds since 1970."""

    scope: Scope
    subject: str  # a worker's id, a service's or a person's name
    audience: tuple[str, ...]
    attempt_id: AttemptId | None
    fence: int | None
    role: Role | None
    issued_at: float
    expires_at: float


class _Claims(BaseModel):
    """A token's payload as it has to be; `extra` claims of newer minters are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)

    iss: str
    aud: list[str]
    sub: str
    scope: str
    iat: float
    exp: float
    jti: str
    attempt: str | None = None
    fence: int | None = None
    role: str | None = None


class Verifier:
    """Checks tokens, and remembers those that it found genuine."""

    def __init__(self, key: Ed25519PublicKey, runtime: Runtime) -> None:
        self.runtime = runtime
        self._key = key
        self._genuine: dict[str, Identity] = {}

    def verify(
        self,
        token: str | None,
        audience: Audience,
        scopes: Collection[Scope],
        *,
        grace_s: float = 0.0,
    ) -> Identity:
        """Who sent `token`. One that expired less than `grace_s` ago still counts.

        Unauthenticated or Forbidden: facts["check"] names the check that failed.
        """
        if not token:
            raise Unauthenticated("no token was sent", check="missing")
        who = self._genuine.get(token)
        if who is None:
            who = self._authenticate(token)
            self.admit(token, who)
        now = self.runtime.now().timestamp()
        if now >= who.expires_at + grace_s:
            ago_s = round(now - who.expires_at, 3)
            raise Unauthenticated(
                f"the token expired {ago_s:g} s ago", check="expired", expired_s=ago_s
            )
        # Also of a token known to be genuine: this clock may have been wrong when it was minted
        # here, and no other service will take it.
        ahead_s = round(who.issued_at - now, 3)
        if ahead_s > MAX_CLOCK_SKEW_S:
            raise Unauthenticated(
                f"the token is from {ahead_s:g} s in the future: compare the machines' clocks",
                check="not_yet",
                skew_s=ahead_s,
            )
        if audience not in who.audience:
            raise Forbidden(
                f"the token is not for the {audience}", check="audience", audience=audience.value
            )
        if who.scope not in scopes:
            raise Forbidden(
                f"a {who.scope} token does not open this", check="scope", scope=who.scope.value
            )
        return who

    def admit(self, token: str, who: Identity) -> None:
        """`token` is known to be genuine."""
        if len(self._genuine) >= CACHED_TOKENS:
            del self._genuine[next(iter(self._genuine))]
        self._genuine[token] = who

    def _authenticate(self, token: str) -> Identity:
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthenticated("the token is too long", check="malformed")
        try:
            payload: dict[str, Any] = jwt.decode(
                token,
                self._key,
                algorithms=[ALGORITHM],
                # Times are checked here, against the injected clock; the rest by _Claims.
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                },
            )
            claims = _Claims.model_validate(payload)
            who = Identity(
                scope=Scope(claims.scope),
                subject=claims.sub,
                audience=tuple(claims.aud),
                attempt_id=None if claims.attempt is None else AttemptId(claims.attempt),
                fence=claims.fence,
                role=None if claims.role is None else Role(claims.role),
                issued_at=claims.iat,
                expires_at=claims.exp,
            )
        except jwt.InvalidAlgorithmError:
            raise Unauthenticated(
                f"the token is not signed with {ALGORITHM}", check="signature"
            ) from None
        except jwt.InvalidSignatureError:
            raise Unauthenticated(
                "the token was not signed by this installation", check="signature"
            ) from None
        # RecursionError: a payload of a thousand nested lists.
        except (jwt.InvalidTokenError, ValidationError, ValueError, RecursionError):
            raise Unauthenticated("the token cannot be understood", check="malformed") from None
        if claims.iss != ISSUER:
            raise Unauthenticated("the token has another issuer", check="issuer")
        return who


class Minter:
    """Makes tokens; `verifier` knows them without checking their signature."""

    def __init__(
        self, key: Ed25519PrivateKey, runtime: Runtime, verifier: Verifier | None = None
    ) -> None:
        self._key = key
        self._runtime = runtime
        self._verifier = verifier

    def worker(self, worker_id: WorkerId) -> str:
        """For everything that the worker asks in its own name, at gateway and registry."""
        return self._mint(Scope.WORKER, worker_id, (Audience.GATEWAY, Audience.REGISTRY), WORKER_S)

    def workload(self, worker_id: WorkerId, attempt_id: AttemptId, fence: int) -> str:
        """Travels inside a claim: opens run and refuse of that attempt."""
        return self._mint(
            Scope.WORKLOAD, worker_id, (Audience.GATEWAY,), WORKLOAD_S, attempt_id, fence
        )

    def execution(self, worker_id: WorkerId, attempt_id: AttemptId, fence: int) -> str:
        """Travels inside a run context: opens the verbs of that running attempt."""
        return self._mint(
            Scope.EXECUTION, worker_id, (Audience.GATEWAY,), EXECUTION_S, attempt_id, fence
        )

    def service(self, name: str) -> str:
        """For one service that speaks to another."""
        return self._mint(Scope.SERVICE, name, (Audience.JOBSTORE, Audience.REGISTRY), SERVICE_S)

    def client(self, name: str, role: Role, lifetime_s: float = CLIENT_S) -> str:
        """For a person or a program that speaks for one."""
        audience = (Audience.JOBSTORE, Audience.REGISTRY, Audience.GATEWAY)
        return self._mint(Scope.CLIENT, name, audience, lifetime_s, role=role)

    def _mint(
        self,
        scope: Scope,
        subject: str,
        audience: tuple[Audience, ...],
        lifetime_s: float,
        attempt_id: AttemptId | None = None,
        fence: int | None = None,
        role: Role | None = None,
    ) -> str:
        now = self._runtime.now().timestamp()
        who = Identity(
            scope=scope,
            subject=subject,
            audience=tuple(a.value for a in audience),
            attempt_id=attempt_id,
            fence=fence,
            role=role,
            issued_at=now,
            expires_at=now + lifetime_s,
        )
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "aud": who.audience,
            "sub": subject,
            "scope": scope.value,
            "iat": who.issued_at,
            "exp": who.expires_at,
            "jti": self._runtime.new_id(),
        }
        if attempt_id is not None:
            payload |= {"attempt": attempt_id, "fence": fence}
        if role is not None:
            payload["role"] = role.value
        token = jwt.encode(payload, self._key, algorithm=ALGORITHM)
        if self._verifier is not None:
            self._verifier.admit(token, who)
        return token
