"""Tokens that are not what they should be, each under its name in docs/fault-catalogue.md.

RFC 8725 is the list. Whatever is shown, the door stays shut, and the answer names the check.
"""

import base64
import hmac
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.errors import Unauthenticated
from shared.ids import RunId
from shared.protocol.gateway import Claim
from shared.runtime import Runtime
from shared.tokens import Audience, Minter, Role, Scope, Verifier
from tests.support.http import Reply
from tests.support.jobstore import ANN, BEN, Hands, a_job
from tests.support.site import SIGNING, Site, site_of

CLIENT = frozenset({Scope.CLIENT})
CLAIM = json.dumps({"claim_id": "c", "labels": {}, "free_slots": 1, "wait_s": 0}).encode()
PUBLIC = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
async def site(hands: Hands) -> AsyncIterator[Site]:
    await hands.submit(a_job("one"))
    async with site_of(hands) as ready:
        yield ready


def payload(runtime: Runtime, **changes: Any) -> dict[str, Any]:
    """Of a token that would open a claim."""
    now = runtime.now().timestamp()
    good = {
        "iss": "drawbar",
        "aud": ["gateway", "registry"],
        "sub": ANN,
        "scope": "worker",
        "iat": now,
        "exp": now + 3_600,
        "jti": "1",
    }
    return good | changes


def signed(runtime: Runtime, key: Any = SIGNING, algorithm: str = "EdDSA", **changes: Any) -> str:
    return jwt.encode(payload(runtime, **changes), key, algorithm=algorithm)


def unsigned(runtime: Runtime, algorithm: str) -> str:
    parts = ({"alg": algorithm, "typ": "JWT"}, payload(runtime))
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join((*texts, b"")).decode()


def signed_with_the_public_key(runtime: Runtime) -> str:
    """As HMAC: PyJWT itself would not sign with a key that is none, so it is done by hand."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(payload(runtime)).encode()).rstrip(b"=")
    mac = hmac.digest(PUBLIC, head + b"." + body, "sha256")
    return b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


def at(seconds: float) -> Callable[[Runtime], str]:
    """A token that was minted `seconds` after now, for an hour."""

    def mint(runtime: Runtime) -> str:
        now = runtime.now().timestamp() + seconds
        return signed(runtime, iat=now, exp=now + 3_600)

    return mint


TOKENS: dict[str, tuple[Callable[[Runtime], str | None], int, str]] = {
    "missing": (lambda _: None, 401, "missing"),
    "empty": (lambda _: "", 401, "missing"),
    "huge_token": (lambda runtime: signed(runtime, pad="x" * 5_000), 401, "malformed"),
    "token_expired": (at(-7_200), 401, "expired"),
    "token_not_yet": (at(7_200), 401, "not_yet"),
    "token_forged": (lambda r: signed(r, Ed25519PrivateKey.generate()), 401, "signature"),
    "alg_none": (lambda r: unsigned(r, "none"), 401, "signature"),
    "alg_none-in_capitals": (lambda r: unsigned(r, "NONE"), 401, "signature"),
    "alg_none-but_named": (lambda r: unsigned(r, "EdDSA"), 401, "signature"),
    "alg_confusion": (signed_with_the_public_key, 401, "signature"),
    "wrong_audience": (lambda r: signed(r, aud=["jobstore"]), 403, "audience"),
    "wrong_scope": (lambda r: signed(r, scope="client", role="admin"), 403, "scope"),
    "wrong_issuer": (lambda r: signed(r, iss="elsewhere"), 401, "issuer"),
}


@pytest.mark.parametrize(("token", "status", "check"), TOKENS.values(), ids=TOKENS)
async def test_a_token_that_is_not_right_claims_nothing(
    site: Site, token: Callable[[Runtime], str | None], status: int, check: str
) -> None:
    shown = token(site.hands.runtime)

    answer = await site.gate("POST", "/v1/claims", token=shown, data=CLAIM)

    assert (answer.status, answer.json["facts"]["check"]) == (status, check)
    assert shown is None or len(shown) == 0 or shown not in answer.body.decode()
    assert (await site.hands.service.show_run(RunId(1))).counts == {"queued": 1}


async def test_the_token_that_all_those_are_copies_of_is_right(site: Site) -> None:
    """Without this, each of them might be refused for another reason."""
    answer = await site.gate("POST", "/v1/claims", token=signed(site.hands.runtime), data=CLAIM)

    assert answer.status == 200


async def test_after_the_key_was_changed_the_old_tokens_open_nothing(hands: Hands) -> None:
    """key_rotated_midway, and with it token_after_revoke: a new key is how tokens are revoked.

    What a verifier has seen before under the old key does not help: it is another verifier.
    """
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    token = Minter(old, hands.runtime).client("eve", Role.ADMIN)
    before = Verifier(old.public_key(), hands.runtime)
    after = Verifier(new.public_key(), hands.runtime)

    assert before.verify(token, Audience.JOBSTORE, CLIENT).role is Role.ADMIN
    with pytest.raises(Unauthenticated, match="not signed by this installation"):
        after.verify(token, Audience.JOBSTORE, CLIENT)


async def finish(site: Site, claim: Claim, token: str, **changes: object) -> Reply:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    body = {
        "fence": claim.fence,
        "result": {"outcome": "exited", "exit_code": 0},
        "log": {"size_bytes": 0, "sha256": empty, "tail_offset": 0, "tail": "", "lost_bytes": 0},
        "artifacts": [],
        "usage": {"wall_s": 1, "cpu_s": None, "max_rss_bytes": None},
    } | changes
    path = f"/v1/attempts/{claim.attempt_id}/finish"
    return await site.gate("POST", path, token=token, data=json.dumps(body).encode())


async def test_another_workers_token_finishes_nothing(site: Site) -> None:
    """wrong_worker"""
    claim = await site.hands.start()

    answer = await finish(site, claim, site.minter.worker(BEN))

    assert answer.status in (404, 409)
    assert (await site.hands.service.show_run(claim.run_id)).jobs[0].status == "running"


async def test_an_old_generation_finishes_nothing(site: Site) -> None:
    """old_generation: the attempt was refused, and the job is with somebody else."""
    (old,) = await site.hands.claim(ANN)
    await site.hands.refuse(old)
    new = await site.hands.start(BEN)

    answer = await finish(site, old, site.minter.execution(ANN, old.attempt_id, old.fence))

    assert answer.status == 409
    assert new.fence == old.fence + 1
    assert (await site.hands.service.show_run(new.run_id)).jobs[0].status == "running"


async def test_a_replayed_finish_changes_nothing_and_another_is_refused(site: Site) -> None:
    """replayed_finish: the same receipt, as often as it is sent; another result is a conflict."""
    claim = await site.hands.start()
    token = site.minter.execution(ANN, claim.attempt_id, claim.fence)
    first = await finish(site, claim, token)

    again = await finish(site, claim, token)
    other = await finish(site, claim, token, result={"outcome": "exited", "exit_code": 1})

    assert (first.status, again.json) == (200, first.json)
    assert (other.status, other.json["code"]) == (409, "result_conflict")
    assert (await site.hands.service.show_run(claim.run_id)).jobs[0].status == "success"
