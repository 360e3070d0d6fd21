"""The job service's log files, on a disk that fails."""

import hashlib
import random
from collections.abc import AsyncIterator

from jobstore.logs import Logs
from shared.ids import AttemptId
from simulation.files import SimDisk, SimFiles
from tests.support.runtime import ManualRuntime

ATTEMPT = AttemptId("attempt-1")
WRITTEN = b"all that the job wrote\n"


class FailsOnce(SimFiles):
    """Files whose first sync fails."""

    failures = 1

    async def sync(self, path: str) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(5, "Input/output error")
        await super().sync(path)


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_log_whose_sync_failed_is_asked_for_anew_and_never_synced_again() -> None:
    disk, runtime = SimDisk(random.Random(1)), ManualRuntime()
    logs = Logs(FailsOnce(disk, runtime), runtime, max_bytes=1 << 20)
    whole = (len(WRITTEN), hashlib.sha256(WRITTEN).hexdigest())
    await logs.append(ATTEMPT, 0, len(WRITTEN), body(WRITTEN))

    resend_from = await logs.complete(ATTEMPT, *whole)

    assert resend_from == 0
    assert await logs.read(ATTEMPT, 0) == b""
    await logs.append(ATTEMPT, 0, len(WRITTEN), body(WRITTEN))
    assert await logs.complete(ATTEMPT, *whole) is None
    disk.lose_power()
    assert await logs.read(ATTEMPT, 0) == WRITTEN
