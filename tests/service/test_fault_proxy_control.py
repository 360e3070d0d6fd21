"""A process of proxies: what its plan says, and how admins change it while it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from faults.proxy.app import made_from
from faults.proxy.control import build_app
from faults.proxy.plan import ProxyPlan, proxy_plan_from
from shared.errors import Misconfigured
from shared.runtime import SystemRuntime
from shared.tokens import Minter, Role, Verifier
from tests.support.http import serving

PLAN = """
seed: 4
proxies:
  - {name: gateway, upstream: "127.0.0.1:7400", faults: [{kind: latency, latency_s: 0.2}]}
  - {name: store, upstream: "[::1]:5432", protocol: tcp}
"""


def plan_of(tmp_path: Path, text: str) -> ProxyPlan:
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    return proxy_plan_from(file)


async def test_an_admin_sees_and_changes_what_goes_wrong(tmp_path: Path) -> None:
    runtime, key = SystemRuntime(), Ed25519PrivateKey.generate()
    proxies = {proxy.name: proxy for proxy in made_from(plan_of(tmp_path, PLAN), runtime)}
    verifier = Verifier(key.public_key(), runtime)
    async with serving(build_app(proxies, verifier)) as call:
        admin = Minter(key, runtime, verifier).client("ann", Role.ADMIN)

        seen = (await call("GET", "/v1/proxies", token=admin)).json["proxies"]
        assert [(p["name"], p["upstream"]) for p in seen] == [
            ("gateway", "127.0.0.1:7400"),
            ("store", "::1:5432"),
        ]
        assert [fault["kind"] for fault in seen[0]["faults"]] == ["latency"]

        body = json.dumps({"faults": [{"kind": "half_open"}]})
        put = await call("PUT", "/v1/proxies/store/faults", token=admin, data=body)
        assert put.status == 200
        assert [active.fault.kind for active in proxies["store"].board.active] == ["half_open"]

        gone = await call("DELETE", "/v1/proxies/gateway/faults", token=admin)
        assert gone.json["faults"] == []
        assert proxies["gateway"].board.active == ()

        wrong = await call("PUT", "/v1/proxies/store/faults", token=admin, data='{"faults": [1]}')
        assert wrong.status == 400
        nobody = await call("PUT", "/v1/proxies/nobody/faults", token=admin, data=body)
        assert (nobody.status, "gateway, store" in nobody.json["message"]) == (404, True)

        viewer = Minter(key, runtime, verifier).client("bob", Role.OPERATOR)
        assert (await call("GET", "/v1/proxies", token=viewer)).status == 403
        assert (await call("GET", "/v1/proxies")).status == 401


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("proxies: []", "at least 1"),
        ("proxies: [{name: a, upstream: nowhere}]", "upstream"),
        ("proxies: [{name: a, upstream: 'a:1', faults: [{kind: magic}]}]", "magic"),
        ("proxies: [{name: a, upstream: 'a:1', faults: [{kind: partition_one_way}]}]", "which way"),
        ("proxies: [{name: a, upstream: 'a:1'}, {name: a, upstream: 'a:1'}]", "same name"),
        ("proxies: [", "expected"),
    ],
)
def test_a_plan_that_means_nothing_says_where(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        plan_of(tmp_path, text)


def test_a_plan_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="No such file"):
        proxy_plan_from(tmp_path / "none.yaml")


async def test_each_proxy_of_a_seed_has_chances_of_its_own(tmp_path: Path) -> None:
    def draws(seed: int) -> list[Any]:
        plan = plan_of(tmp_path, PLAN.replace("seed: 4", f"seed: {seed}"))
        return [proxy.board.rng.random() for proxy in made_from(plan, SystemRuntime())]

    assert draws(4) == draws(4)
    assert draws(4) != draws(5)
    assert len(set(draws(4))) == 2
