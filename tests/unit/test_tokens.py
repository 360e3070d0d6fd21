import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import Forbidden, ServiceError, Unauthenticated
from shared.ids import AttemptId, WorkerId
from shared.renewal import AttemptTokens, Renewing
from shared.tokens import (
    CACHED_TOKENS,
    EXECUTION_S,
    WORKER_S,
    Audience,
    Minter,
    Role,
    Scope,
    Verifier,
)
from tests.support.runtime import T0, ManualRuntime

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
ANN, ATTEMPT = WorkerId("ann"), AttemptId("attempt-1")
WORKER, EXECUTION = {Scope.WORKER}, {Scope.EXECUTION}


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def verifier(runtime: ManualRuntime) -> Verifier:
    return Verifier(KEY.public_key(), runtime)


@pytest.fixture
def minter(runtime: ManualRuntime) -> Minter:
    return Minter(KEY, runtime)


def failed_check(verifier: Verifier, token: str | None, scopes: set[Scope] = WORKER) -> Any:
    with pytest.raises(ServiceError) as refused:
        verifier.verify(token, Audience.GATEWAY, scopes)
    return refused.value.facts["check"]


def forged(key: Any = KEY, algorithm: str = "EdDSA", **changes: Any) -> str:
    now = T0.timestamp()
    claims = {
        "iss": "drawbar",
        "aud": ["gateway"],
        "sub": "ann",
        "scope": "worker",
        "iat": now,
        "exp": now + 60,
        "jti": "1",
    } | changes
    claims = {name: value for name, value in claims.items() if value is not ...}
    return jwt.encode(claims, key, algorithm=algorithm)


def test_a_token_says_who_and_what(minter: Minter, verifier: Verifier) -> None:
    token = minter.execution(ANN, ATTEMPT, 7)

    who = verifier.verify(token, Audience.GATEWAY, EXECUTION)

    assert (who.subject, who.attempt_id, who.fence) == ("ann", ATTEMPT, 7)
    assert who.expires_at == T0.timestamp() + EXECUTION_S


def test_a_minted_token_is_known_without_its_signature(runtime: ManualRuntime) -> None:
    blind = Verifier(OTHER_KEY.public_key(), runtime)

    token = Minter(KEY, runtime, blind).worker(ANN)

    assert blind.verify(token, Audience.GATEWAY, WORKER).subject == "ann"


@pytest.mark.parametrize("token", [None, ""])
def test_no_token_is_missing(verifier: Verifier, token: str | None) -> None:
    assert failed_check(verifier, token) == "missing"


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b.c",
        "....",
        "ey" * 2_000_000,
        "\udcff.\udcff.\udcff",
        "é.é.é",
        base64.urlsafe_b64encode(b"[" * 2_000).decode() + ".e30.e30",
    ],
)
def test_what_is_no_token_is_malformed(verifier: Verifier, token: str) -> None:
    assert failed_check(verifier, token) == "malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": ...},
        {"sub": 7},
        {"exp": ...},
        {"exp": "never"},
        {"exp": None},
        {"aud": "gateway"},
        {"scope": "root"},
        {"role": "emperor"},
        {"fence": "1"},
        {"iat": [1]},
        {"deep": json.loads("[" * 400 + "]" * 400)},
    ],
)
def test_a_genuine_token_with_the_wrong_shape_opens_nothing(
    verifier: Verifier, changes: dict[str, Any]
) -> None:
    token = forged(**changes)

    if "deep" in changes:
        assert verifier.verify(token, Audience.GATEWAY, WORKER).subject == "ann"
    else:
        assert failed_check(verifier, token) == "malformed"


def test_another_installations_token_fails_its_signature(verifier: Verifier) -> None:
    assert failed_check(verifier, forged(OTHER_KEY)) == "signature"


def test_a_changed_payload_fails_its_signature(verifier: Verifier, minter: Minter) -> None:
    head, payload, seal = minter.worker(ANN).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "ben"
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    assert failed_check(verifier, f"{head}.{changed}.{seal}") == "signature"


def test_a_token_does_not_choose_its_algorithm(verifier: Verifier) -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw
    )

    assert failed_check(verifier, forged(None, "none")) == "signature"
    assert failed_check(verifier, forged(public, "HS256")) == "signature"


def test_another_issuers_token_is_refused(verifier: Verifier) -> None:
    assert failed_check(verifier, forged(iss="elsewhere")) == "issuer"


async def test_an_expired_token_says_since_when(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime
) -> None:
    token = minter.worker(ANN)
    verifier.verify(token, Audience.GATEWAY, WORKER)

    await runtime.advance(WORKER_S + 5)

    with pytest.raises(Unauthenticated, match="expired 5 s ago") as refused:
        verifier.verify(token, Audience.GATEWAY, WORKER)
    assert refused.value.facts == {"check": "expired", "expired_s": 5.0}


async def test_a_token_may_be_as_late_as_the_door_allows(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime
) -> None:
    token = minter.execution(ANN, ATTEMPT, 1)

    await runtime.advance(EXECUTION_S + 599)
    assert verifier.verify(token, Audience.GATEWAY, EXECUTION, grace_s=600).subject == "ann"
    assert failed_check(verifier, token, EXECUTION) == "expired"

    await runtime.advance(1)
    with pytest.raises(Unauthenticated):
        verifier.verify(token, Audience.GATEWAY, EXECUTION, grace_s=600)


def test_a_token_from_the_future_names_the_skew(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime
) -> None:
    token = minter.worker(ANN)
    runtime.step_wall_clock(-90)

    with pytest.raises(Unauthenticated, match="90 s in the future") as refused:
        verifier.verify(token, Audience.GATEWAY, WORKER)

    assert refused.value.facts == {"check": "not_yet", "skew_s": 90.0}


def test_a_small_skew_is_forgiven(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime
) -> None:
    token = minter.worker(ANN)
    runtime.step_wall_clock(-59)

    assert verifier.verify(token, Audience.GATEWAY, WORKER).subject == "ann"


def test_a_token_for_another_service_is_refused(verifier: Verifier, minter: Minter) -> None:
    token = minter.worker(ANN)

    with pytest.raises(Forbidden) as refused:
        verifier.verify(token, Audience.JOBSTORE, WORKER)

    assert refused.value.facts["check"] == "audience"


def test_a_token_of_another_scope_is_refused(verifier: Verifier, minter: Minter) -> None:
    assert failed_check(verifier, minter.workload(ANN, ATTEMPT, 1), EXECUTION) == "scope"


def test_a_million_tokens_do_not_fill_the_memory(verifier: Verifier, minter: Minter) -> None:
    who = verifier.verify(minter.worker(ANN), Audience.GATEWAY, WORKER)

    for number in range(2 * CACHED_TOKENS):
        verifier.admit(str(number), who)

    assert len(verifier._genuine) == CACHED_TOKENS


def test_roles_include_those_below_them() -> None:
    assert Role.ADMIN.includes(Role.VIEWER)
    assert Role.SUBMITTER.includes(Role.SUBMITTER)
    assert not Role.VIEWER.includes(Role.SUBMITTER)


async def test_an_attempts_token_is_refreshed_at_half_of_its_life(
    minter: Minter, runtime: ManualRuntime
) -> None:
    tokens = AttemptTokens(minter, runtime)
    tokens.execution(ANN, ATTEMPT, 1)

    early = tokens.refresh(ANN, ATTEMPT, 1)
    await runtime.advance(EXECUTION_S / 2)
    late = tokens.refresh(ANN, ATTEMPT, 1)
    at_once = tokens.refresh(ANN, ATTEMPT, 1)

    assert early is None
    assert late is not None
    assert at_once is None


def test_an_attempt_that_a_restarted_gateway_never_heard_of_gets_a_token(
    minter: Minter, runtime: ManualRuntime
) -> None:
    assert AttemptTokens(minter, runtime).refresh(ANN, ATTEMPT, 1) is not None


async def test_a_service_renews_its_token_before_it_expires(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime
) -> None:
    token = Renewing(lambda: minter.service("gateway"), 3_600, runtime)
    first = token()

    await runtime.advance(1_799)
    assert token() == first

    await runtime.advance(1)
    assert token() != first


@pytest.mark.parametrize("step_s", [-3_600, 3_600])
def test_a_service_renews_its_token_when_its_clock_was_set(
    verifier: Verifier, minter: Minter, runtime: ManualRuntime, step_s: float
) -> None:
    token = Renewing(lambda: minter.service("gateway"), 3_600, runtime)
    runtime.step_wall_clock(step_s)
    token()

    runtime.step_wall_clock(-step_s)

    who = verifier.verify(token(), Audience.JOBSTORE, frozenset({Scope.SERVICE}))
    assert who.issued_at == runtime.now().timestamp()


def test_a_token_minted_here_is_refused_like_any_other_once_the_clock_is_set_right(
    verifier: Verifier, runtime: ManualRuntime
) -> None:
    minter = Minter(KEY, runtime, verifier)
    runtime.step_wall_clock(3_600)
    token = minter.worker(ANN)
    verifier.verify(token, Audience.REGISTRY, WORKER)

    runtime.step_wall_clock(-3_600)

    with pytest.raises(Unauthenticated, match="in the future"):
        verifier.verify(token, Audience.REGISTRY, WORKER)
