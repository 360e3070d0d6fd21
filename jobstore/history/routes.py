"""What people ask of past runs, as routes."""

from aiohttp import web

from shared.errors import BadRequest
from shared.http.identity import require_role
from shared.http.server import read_message, reply
from shared.ids import JobId, RunId
from shared.protocol.history import PruneRequest
from shared.services import History
from shared.tokens import Audience, Role, Verifier

USUAL_RUNS = 20


def add_history_routes(app: web.Application, service: History, verifier: Verifier) -> None:
    """The application serves `History`."""
    verbs = _Verbs(service, verifier)
    number = "[0-9]{1,18}"
    app.add_routes(
        [
            web.get("/v1/history", verbs.job_history, allow_head=False),
            web.get(
                f"/v1/runs/{{before:{number}}}/diff/{{after:{number}}}",
                verbs.diff,
                allow_head=False,
            ),
            web.post("/v1/prune", verbs.prune),
        ]
    )


class _Verbs:
    def __init__(self, service: History, verifier: Verifier) -> None:
        self._service = service
        self._verifier = verifier

    async def job_history(self, request: web.Request) -> web.Response:
        """200: a job, or every job, in the latest runs of a pipeline."""
        self._require(request, Role.VIEWER)
        name = request.query.get("pipeline", "")
        if not name:
            raise BadRequest("pipeline must name a pipeline", field="pipeline")
        job = request.query.get("job")
        runs = request.query.get("runs", str(USUAL_RUNS))
        if not (runs.isascii() and runs.isdigit() and len(runs) < 10):
            raise BadRequest("runs must be a number", field="runs")
        job_id = None if job is None else JobId(job)
        return reply(await self._service.job_history(name, job_id, runs=int(runs)))

    async def diff(self, request: web.Request) -> web.Response:
        """200: two runs side by side."""
        self._require(request, Role.VIEWER)
        before, after = (RunId(int(request.match_info[name])) for name in ("before", "after"))
        return reply(await self._service.diff(before, after))

    async def prune(self, request: web.Request) -> web.Response:
        """200: old runs are gone; or they were only counted."""
        self._require(request, Role.ADMIN)
        return reply(await self._service.prune(await read_message(request, PruneRequest)))

    def _require(self, request: web.Request, role: Role) -> None:
        require_role(self._verifier, request, Audience.JOBSTORE, role)
