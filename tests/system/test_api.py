"""What the services say of themselves at /openapi.json holds against requests by the thousand.

Every check of schemathesis is on: no 5xx, no status, header or body that the document does not
name, nothing accepted that it forbids, nothing refused that it allows, no token ignored.
"""

import asyncio
from itertools import count

import pytest

from tests.support.api_fuzzing import furnish, try_out, url_of
from tests.support.cluster import Cluster

FEW, MANY = 5_000, 50_000  # requests in all


@pytest.mark.timeout(300)
async def test_no_service_breaks_its_word_in_5000_requests(cluster: Cluster) -> None:
    cast = await furnish(cluster)

    verdicts = await asyncio.gather(
        *(
            try_out(name, url_of(cluster, name), cast, cluster.folder, examples=3)
            for name in cluster.services
        )
    )

    for verdict in verdicts:
        assert verdict.is_clean, verdict.said
    assert sum(verdict.requests for verdict in verdicts) >= FEW


@pytest.mark.prove
@pytest.mark.timeout(1_200)
async def test_no_service_breaks_its_word_in_50000_requests(cluster: Cluster) -> None:
    """All services at once, each by one schemathesis at a time, until there were enough."""
    cast = await furnish(cluster)
    requests = dict.fromkeys(cluster.services, 0)

    async def try_out_again_and_again(name: str) -> None:
        for seed in count():
            verdict = await try_out(
                name,
                url_of(cluster, name),
                cast,
                cluster.folder,
                examples=40,
                seed=seed,
                is_thorough=seed == 0,
            )
            assert verdict.is_clean, verdict.said
            requests[name] += verdict.requests
            if sum(requests.values()) >= MANY:
                return

    async with asyncio.TaskGroup() as group:
        for name in cluster.services:
            group.create_task(try_out_again_and_again(name), name=name)

    assert min(requests.values()) >= FEW
