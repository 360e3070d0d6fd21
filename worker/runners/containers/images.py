"""An image is here before its container is made: pulled when it has to be, with news in the log."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from shared.protocol.pipeline import Pull
from shared.runtime import Runtime
from worker.ports import CannotStart
from worker.runners.containers.engine import Engine, EngineAway, Refused

NEWS_S: Final = 5.0  # between two lines of progress
MEGA: Final = 1_000_000
DENIED: Final = ("unauthorized", "denied", "authentication required", "403", "401")

Say = Callable[[str], None]


class Images:
    """What one engine has of images."""

    def __init__(self, engine: Engine, environ: Mapping[str, str], runtime: Runtime) -> None:
        self._engine = engine
        self._environ = environ
        self._runtime = runtime
        self._pulling: dict[str, asyncio.Lock] = {}

    async def have(self, image: str, pull: Pull, say: Say) -> dict[str, str]:
        """The image is here; its own variables. CannotStart, EngineAway: it is not."""
        # Jobs that start together want the same image: the first pulls it, the rest find it here.
        async with self._pulling.setdefault(image, asyncio.Lock()):
            env = None if pull is Pull.ALWAYS else await self._look(image)
            if env is not None:
                return env
            if pull is Pull.NEVER:
                raise CannotStart(
                    f"the container engine does not have image {image!r}, and `pull: never` "
                    "forbids fetching it"
                )
            await self._pull(image, say)
            env = await self._look(image)
            if env is None:
                raise CannotStart(f"image {image!r} cannot be pulled: the engine broke off")
            return env

    async def _look(self, image: str) -> dict[str, str] | None:
        try:
            return await self._engine.image_env(image)
        except Refused as error:
            raise CannotStart(f"image {image!r}: {error}") from error

    async def _pull(self, image: str, say: Say) -> None:
        began = self._runtime.mono()
        say(f"pulling image {image!r}")
        progress, told_at = Progress(), began
        auth = _auth(image, self._environ)
        try:
            async with aclosing(self._engine.pull(image, auth)) as all_news:
                async for news in all_news:
                    progress.take(news)
                    if self._runtime.mono() - told_at >= NEWS_S:
                        told_at = self._runtime.mono()
                        say(f"pulling image {image!r}: {progress.in_words()}")
        except Refused as error:
            raise CannotStart(
                f"image {image!r} cannot be pulled: {error}{_remedy(error)}"
            ) from error
        except EngineAway as error:
            raise EngineAway(f"while image {image!r} was pulled: {error}") from error
        took_s = self._runtime.mono() - began
        say(f"pulled image {image!r} in {took_s:.1f} s")


class Progress:
    """How far a pull has come, from what the engine tells of each layer."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()
        self._last = ""

    def take(self, news: Mapping[str, Any]) -> None:
        status = str(news.get("status") or news.get("stream") or "").strip()
        layer, detail = str(news.get("id") or ""), news.get("progressDetail") or {}
        self._last = status or self._last
        if layer and detail.get("total"):
            self._layers[layer] = (int(detail.get("current") or 0), int(detail["total"]))
        if layer and status in ("Pull complete", "Already exists", "Download complete"):
            self._done.add(layer)

    def in_words(self) -> str:
        if not self._layers:
            return self._last or "no news yet"
        come = sum(
            total if layer in self._done else now for layer, (now, total) in self._layers.items()
        )
        whole = sum(total for _, total in self._layers.values())
        done = len(self._done & self._layers.keys())
        return f"{done} of {len(self._layers)} layers, {come / MEGA:.1f} of {whole / MEGA:.1f} MB"


def _remedy(error: Refused) -> str:
    if any(word in str(error).lower() for word in DENIED):
        return " (is its name right, and is the worker's user logged in? `docker login` does that)"
    return ""


def _auth(image: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """What `docker login` has kept for the image's registry. None: nothing, or in a keychain."""
    registry, has_host, _ = image.partition("/")
    if not has_host or not ("." in registry or ":" in registry or registry == "localhost"):
        return None  # of the public hub, where the engine needs nobody's name
    home = environ.get("DOCKER_CONFIG") or str(Path(environ.get("HOME", "/"), ".docker"))
    try:
        kept = json.loads(Path(home, "config.json").read_text())["auths"]
        entry = kept.get(registry) or kept[f"https://{registry}"]
        name, _, word = base64.b64decode(entry["auth"]).decode().partition(":")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {"username": name, "password": word, "serveraddress": registry}
