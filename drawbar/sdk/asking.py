"""What a running task can ask for: variables, connections, XComs, artifacts.

Values that are secrets are masked in the log from the moment they are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from drawbar.sdk.current import NotThere, ask
from drawbar.sdk.results import ResultSequence
from drawbar.sdk.values import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_NONE: Final = object()
PAGE: Final = 1_000


class Variables:
    """Texts by name that all pipelines share."""

    __slots__ = ()

    def get(self, key: str, default: Any = _NONE) -> Any:
        """The text; `default` when there is no such variable. NotThere: … and no default."""
        try:
            return ask("get_variable", key=key)["value"]
        except NotThere:
            if default is _NONE:
                raise
            return default

    def get_json(self, key: str, default: Any = _NONE) -> Any:
        """What the text says as JSON."""
        import json

        text = self.get(key, default)
        return json.loads(text) if isinstance(text, str) else text

    def set(self, key: str, value: str, *, description: str = "", is_secret: bool = False) -> None:
        ask("set_variable", key=key, value=value, description=description, is_secret=is_secret)

    def delete(self, key: str) -> None:
        """There is no such variable any more. Safe when there was none."""
        ask("delete_variable", key=key)

    def keys(self, prefix: str = "") -> list[str]:
        return _all_keys("list_variables", prefix)

    def __getitem__(self, key: str) -> str:
        return str(self.get(key))


class Connection:
    """How to reach something, and as whom."""

    __slots__ = ("extra", "host", "kind", "name", "password", "path", "port", "user")

    def __init__(self, facts: dict[str, Any]) -> None:
        self.name: str = facts["name"]
        self.kind: str = facts["kind"]
        self.host: str | None = facts["host"]
        self.port: int | None = facts["port"]
        self.user: str | None = facts["user"]
        self.password: str | None = facts["password"]
        self.path: str | None = facts["path"]
        self.extra: dict[str, Any] = facts["extra"]

    @property
    def url(self) -> str:
        """kind://user:password@host:port/path, quoted. It holds the password."""
        from urllib.parse import quote

        user = quote(self.user or "", safe="")
        if self.password is not None:
            user += ":" + quote(self.password, safe="")
        port = f":{self.port}" if self.port is not None else ""
        path = f"/{quote(self.path)}" if self.path else ""
        return f"{self.kind}://{user}{'@' if user else ''}{self.host or ''}{port}{path}"

    def __repr__(self) -> str:
        return f"Connection({self.name!r}, kind={self.kind!r}, host={self.host!r})"


class Connections:
    """Connections by name, that operators keep."""

    __slots__ = ()

    def get(self, name: str) -> Connection:
        """NotThere: there is no such connection."""
        return Connection(ask("get_connection", name=name))

    def set(self, name: str, kind: str, **facts: Any) -> None:
        """host, port, user, password, path and extra, as in `Connection`."""
        ask("set_connection", connection={"name": name, "kind": kind, **facts})

    def delete(self, name: str) -> None:
        ask("delete_connection", name=name)

    def names(self, prefix: str = "") -> list[str]:
        return _all_keys("list_connections", prefix)

    def __getitem__(self, name: str) -> Connection:
        return self.get(name)


class XComs:
    """Values that jobs of one run leave for each other."""

    __slots__ = ()

    def pull(self, job: str | None = None, key: str = "return_value", default: Any = None) -> Any:
        """What that job left, or `default`. Of a mapped job: the list of what its instances did.

        Without a job: what this one has left, also before it was deferred.
        """
        found = ask("get_xcom", job=job, key=key)
        return found["value"] if found["is_found"] else default

    def sequence(self, job: str, key: str = "return_value") -> ResultSequence:
        """A long list that a job, or a mapped job's instances, left; fetched as it is read."""
        return ResultSequence(job, key)

    def push(self, key: str, value: Any) -> None:
        """This job leaves `value` for others. BadValue: JSON cannot say it, or it is too large."""
        ask("set_xcom", key=key, value=check(value))

    def delete(self, key: str) -> None:
        ask("delete_xcom", key=key)

    def keys(self, job: str | None = None) -> list[str]:
        return list(ask("list_xcoms", job=job)["keys"])


class Artifacts:
    """Files that a job leaves: they are collected from its working directory when it succeeds."""

    __slots__ = ()

    def publish(self, path: str | Path) -> None:
        """The file, below the working directory, is kept when the task succeeds."""
        ask("publish_artifact", path=_below_here(path))

    def save(self, path: str, data: bytes | str) -> Path:
        """`data` was written to a file of that name, which is kept when the task succeeds."""
        file = Path(_below_here(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        self.publish(path)
        return file


def mask(*values: str) -> None:
    """None of these texts appears in the log from now on."""
    ask("mask_secret", values=list(values))


def _below_here(path: str | Path) -> str:
    if isinstance(path, Path) and path.is_absolute():
        path = path.relative_to(Path.cwd())
    return str(PurePosixPath(path))


def _all_keys(what: str, prefix: str) -> list[str]:
    return list(_pages(what, prefix))


def _pages(what: str, prefix: str) -> Iterator[str]:
    after = ""
    while True:
        keys = ask(what, prefix=prefix, after=after, limit=PAGE)["keys"]
        yield from keys
        if len(keys) < PAGE:
            return
        after = keys[-1]


variables = Variables()
connections = Connections()
xcom = XComs()
artifacts = Artifacts()
