"""`Execution`: what running tasks ask of their run. Every request is checked against its lease."""

from jobstore.artifacts import Artifacts
from jobstore.execution_data.dependencies import dependencies_of
from jobstore.execution_data.values import Values
from jobstore.execution_data.xcoms import XComs
from jobstore.leases import Lease, LeaseBook
from jobstore.triggers.service import WaitService
from shared.errors import StaleFence, UnknownAttempt, UnknownBundle
from shared.protocol import execution as e
from shared.protocol.gateway import Dependencies
from shared.services import Body
from shared.sqlite import Database


class ExecutionService:
    """XComs and bundles of the run, and the variables and connections that all runs share."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        leases: LeaseBook,
        values: Values,
        waits: WaitService,
    ) -> None:
        self._db = database
        self._artifacts = artifacts
        self._leases = leases
        self._values = values
        self._waits = waits
        self._xcoms = XComs(database, artifacts)

    # -- variables and connections ---------------------------------------------------------------

    async def get_variable(self, scope: e.Scope, ask: e.GetVariable) -> e.Variable:
        await self._lease(scope)
        return await self._values.get_variable(ask)

    async def set_variable(self, scope: e.Scope, ask: e.SetVariable) -> None:
        await self._lease(scope)
        await self._values.set_variable(ask)

    async def delete_variable(self, scope: e.Scope, ask: e.DeleteVariable) -> None:
        await self._lease(scope)
        await self._values.delete_variable(ask)

    async def list_variables(self, scope: e.Scope, ask: e.ListVariables) -> e.Keys:
        await self._lease(scope)
        return await self._values.list_variables(ask)

    async def get_connection(self, scope: e.Scope, ask: e.GetConnection) -> e.Connection:
        await self._lease(scope)
        return await self._values.get_connection(ask)

    async def set_connection(self, scope: e.Scope, ask: e.SetConnection) -> None:
        await self._lease(scope)
        await self._values.set_connection(ask)

    async def delete_connection(self, scope: e.Scope, ask: e.DeleteConnection) -> None:
        await self._lease(scope)
        await self._values.delete_connection(ask)

    async def list_connections(self, scope: e.Scope, ask: e.ListConnections) -> e.Keys:
        await self._lease(scope)
        return await self._values.list_connections(ask)

    # -- what jobs of the run left, and how they ended -------------------------------------------

    async def get_xcom(self, scope: e.Scope, ask: e.GetXCom) -> e.XCom:
        lease = await self._lease(scope)
        return await self._xcoms.get_xcom(scope.attempt_id, lease.run_id, ask)

    async def count_xcom(self, scope: e.Scope, ask: e.CountXCom) -> e.XComCount:
        return await self._xcoms.count_xcom((await self._lease(scope)).run_id, ask)

    async def get_xcom_item(self, scope: e.Scope, ask: e.GetXComItem) -> e.XCom:
        return await self._xcoms.get_xcom_item((await self._lease(scope)).run_id, ask)

    async def get_xcom_slice(self, scope: e.Scope, ask: e.GetXComSlice) -> e.XComSlice:
        return await self._xcoms.get_xcom_slice((await self._lease(scope)).run_id, ask)

    async def set_xcom(self, scope: e.Scope, ask: e.SetXCom) -> None:
        await self._lease(scope)
        await self._xcoms.set_xcom(scope.attempt_id, ask)

    async def delete_xcom(self, scope: e.Scope, ask: e.DeleteXCom) -> None:
        await self._lease(scope)
        await self._xcoms.delete_xcom(scope.attempt_id, ask)

    async def list_xcoms(self, scope: e.Scope, ask: e.ListXComs) -> e.Keys:
        lease = await self._lease(scope)
        return await self._xcoms.list_xcoms(scope.attempt_id, lease.run_id, ask)

    async def list_dependencies(self, scope: e.Scope, ask: e.ListDependencies) -> Dependencies:
        lease = await self._lease(scope)
        return await self._db.read(lambda conn: dependencies_of(conn, lease.job_seq))

    # -- bundles ---------------------------------------------------------------------------------

    async def new_callback(self, scope: e.Scope, ask: e.NewCallback) -> e.Callback:
        return await self._waits.new_callback((await self._lease(scope)).job_seq)

    async def read_bundle(self, scope: e.Scope, sha256: str) -> Body:
        lease = await self._lease(scope)
        row = await self._db.read(
            lambda conn: conn.execute(
                "SELECT 1 FROM bundle WHERE run_id = ? AND sha256 = ?", (lease.run_id, sha256)
            ).fetchone()
        )
        if row is None:
            raise UnknownBundle(sha256=sha256)
        async for piece in self._artifacts.read(sha256):
            yield piece

    # -- details -------------------------------------------------------------------------------

    async def _lease(self, scope: e.Scope) -> Lease:
        """UnknownAttempt, StaleFence: the attempt is not this worker's to speak for."""
        lease = self._leases.get(scope.attempt_id)
        if lease is None:
            row = await self._db.read(
                lambda conn: conn.execute(
                    "SELECT status FROM attempt WHERE id = ?", (scope.attempt_id,)
                ).fetchone()
            )
            if row is None:
                raise UnknownAttempt(attempt_id=scope.attempt_id)
            raise StaleFence(f"the attempt is {row[0]}", state=row[0])
        if (lease.worker_id, lease.fence) != (scope.worker_id, scope.fence) or not lease.is_running:
            raise StaleFence(state="running elsewhere" if lease.is_running else "claimed")
        return lease
