"""`Execution` in memory: slow, obvious, and with a log of what was asked."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic import JsonValue

from shared.errors import Conflict, ServiceError, UnknownBundle, UnknownConnection, UnknownVariable
from shared.protocol import execution as e
from shared.protocol.gateway import Dependencies, DependencyResult

OWN = "(own)"  # the job that asks, in `xcoms`


class MemoryExecution:
    """One run's data. What a mapped job left is a list under its id, and the id in `mapped`."""

    def __init__(self) -> None:
        self.variables: dict[str, e.Variable] = {}
        self.connections: dict[str, e.Connection] = {}
        self.xcoms: dict[tuple[str, str], JsonValue] = {}
        self.bundles: dict[str, bytes] = {}
        self.dependencies: list[DependencyResult] = []
        self.asked: list[str] = []
        self.scopes: set[e.Scope] = set()
        self.failures: list[ServiceError] = []  # raised by the next requests, one each
        self.before: Callable[[str], None] = lambda ask: None

    def _meet(self, ask: str, scope: e.Scope) -> None:
        self.asked.append(ask)
        self.scopes.add(scope)
        self.before(ask)
        if self.failures and ask != "read_bundle":
            raise self.failures.pop(0)

    async def get_variable(self, scope: e.Scope, ask: e.GetVariable) -> e.Variable:
        self._meet(ask.ask, scope)
        if ask.key not in self.variables:
            raise UnknownVariable(key=ask.key)
        return self.variables[ask.key]

    async def set_variable(self, scope: e.Scope, ask: e.SetVariable) -> None:
        self._meet(ask.ask, scope)
        self.variables[ask.key] = e.Variable(key=ask.key, value=ask.value, is_secret=ask.is_secret)

    async def delete_variable(self, scope: e.Scope, ask: e.DeleteVariable) -> None:
        self._meet(ask.ask, scope)
        self.variables.pop(ask.key, None)

    async def list_variables(self, scope: e.Scope, ask: e.ListVariables) -> e.Keys:
        self._meet(ask.ask, scope)
        return _keys(self.variables, ask)

    async def get_connection(self, scope: e.Scope, ask: e.GetConnection) -> e.Connection:
        self._meet(ask.ask, scope)
        if ask.name not in self.connections:
            raise UnknownConnection(name=ask.name)
        return self.connections[ask.name]

    async def set_connection(self, scope: e.Scope, ask: e.SetConnection) -> None:
        self._meet(ask.ask, scope)
        self.connections[ask.connection.name] = ask.connection

    async def delete_connection(self, scope: e.Scope, ask: e.DeleteConnection) -> None:
        self._meet(ask.ask, scope)
        self.connections.pop(ask.name, None)

    async def list_connections(self, scope: e.Scope, ask: e.ListConnections) -> e.Keys:
        self._meet(ask.ask, scope)
        return _keys(self.connections, ask)

    async def get_xcom(self, scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        self._meet(ask.ask, scope)
        place = (ask.job or OWN, ask.key)
        return e.XCom(value=self.xcoms.get(place), is_found=place in self.xcoms)

    async def count_xcom(self, scope: e.Scope, ask: e.CountXCom) -> e.XComCount:
        self._meet(ask.ask, scope)
        return e.XComCount(count=len(self._sequence(ask.job, ask.key)))

    async def get_xcom_item(self, scope: e.Scope, ask: e.GetXComItem) -> e.XCom:
        self._meet(ask.ask, scope)
        return e.XCom(value=self._sequence(ask.job, ask.key)[ask.index], is_found=True)

    async def get_xcom_slice(self, scope: e.Scope, ask: e.GetXComSlice) -> e.XComSlice:
        """Two at a time, so that whoever reads has to go on."""
        self._meet(ask.ask, scope)
        sequence = self._sequence(ask.job, ask.key)
        places = range(len(sequence))[ask.start : ask.stop : ask.step]
        return e.XComSlice(
            values=tuple(sequence[place] for place in places[:2]),
            next_start=places[2] if len(places) > 2 else None,
        )

    async def set_xcom(self, scope: e.Scope, ask: e.SetXCom) -> None:
        self._meet(ask.ask, scope)
        self.xcoms[OWN, ask.key] = ask.value

    async def delete_xcom(self, scope: e.Scope, ask: e.DeleteXCom) -> None:
        self._meet(ask.ask, scope)
        self.xcoms.pop((OWN, ask.key), None)

    async def list_xcoms(self, scope: e.Scope, ask: e.ListXComs) -> e.Keys:
        self._meet(ask.ask, scope)
        return e.Keys(keys=tuple(sorted(k for job, k in self.xcoms if job == (ask.job or OWN))))

    async def list_dependencies(self, scope: e.Scope, ask: e.ListDependencies) -> Dependencies:
        self._meet(ask.ask, scope)
        return Dependencies(dependencies=tuple(self.dependencies))

    async def new_callback(self, scope: e.Scope, ask: e.NewCallback) -> e.Callback:
        self._meet(ask.ask, scope)
        return e.Callback(callback_id="cb-1", url="http://here/v1/callbacks/cb-1/very-secret")

    async def read_bundle(self, scope: e.Scope, sha256: str) -> AsyncIterator[bytes]:
        self._meet("read_bundle", scope)
        if sha256 not in self.bundles:
            raise UnknownBundle(sha256=sha256)
        yield self.bundles[sha256]

    def _sequence(self, job: str, key: str) -> list[Any]:
        value = self.xcoms.get((job, key))
        if not isinstance(value, list):
            raise Conflict(f"what {job!r} left is no list", state="no list")
        return value


def _keys(things: dict[str, Any], ask: e.ListVariables | e.ListConnections) -> e.Keys:
    found = sorted(k for k in things if k.startswith(ask.prefix) and k > ask.after)
    return e.Keys(keys=tuple(found[: ask.limit]))
