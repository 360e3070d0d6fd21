"""A small disk of the job service's own, which can be filled to the last byte. Needs root."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Final

COMMAND_S: Final = 10.0
PIECE: Final = 1024 * 1024


class SmallDisk:
    """A tmpfs at `place`, once it is mounted."""

    def __init__(self, place: Path, size_mb: int) -> None:
        self._place = place
        self._size_mb = size_mb
        self._is_mounted = False

    async def mount(self) -> str | None:
        """It is there; or why it cannot be."""
        if os.geteuid() != 0:
            return "only root may mount a small disk"
        self._place.mkdir(parents=True, exist_ok=True)
        size = f"size={self._size_mb}m,mode=700"
        said = await _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self._place))
        self._is_mounted = said is None
        return said

    def fill(self) -> None:
        """Not one byte is left."""
        with (self._place / "ballast").open("ab", buffering=0) as file:
            for size in (PIECE, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """There is room again."""
        if self._is_mounted:
            (self._place / "ballast").unlink(missing_ok=True)

    async def unmount(self) -> None:
        """It is gone, and what was on it stays in the folder."""
        if not self._is_mounted:
            return
        beside = self._place.with_name("jobstore-kept")
        await _run("cp", "-a", str(self._place), str(beside))
        if await _run("umount", str(self._place)) is None:
            self._is_mounted = False
            self._place.rmdir()
            beside.rename(self._place)


async def _run(*words: str) -> str | None:
    """None: it worked. Else what it said."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(COMMAND_S):
            _, said = await process.communicate()
    except (OSError, TimeoutError) as error:
        return f"{words[0]}: {error or 'it takes too long'}"
    return None if process.returncode == 0 else said.decode(errors="replace").strip()
