"""What people ask of past runs, as routes."""

from aiohttp import web

from jobstore.history.service import LONGEST_HISTORY
from shared.errors import BadRequest, UnknownRun
from shared.http import wire
from shared.http.identity import require_role
from shared.http.operation import Given, Key, number, operation
from shared.http.server import read_message, reply
from shared.ids import JobId, RunId
from shared.protocol.history import JobHistory, PruneReply, PruneRequest, RunDiff
from shared.services import History
from shared.tokens import Audience, Role, Verifier

USUAL_RUNS = 20
_WHICH = (
    Given("pipeline", {"type": "string", "minLength": 1}, is_required=True),
    Given("job", {"type": "string"}),
    number("runs", at_least=1, at_most=LONGEST_HISTORY),
)


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

    @operation(Key.PERSON, {200: JobHistory}, role=Role.VIEWER, given=_WHICH)
    async def job_history(self, request: web.Request) -> web.Response:
        """200: a job, or every job, in the latest runs of a pipeline."""
        self._require(request, Role.VIEWER)
        name = request.query.get("pipeline", "")
        if not name:
            raise BadRequest("pipeline must name a pipeline", field="pipeline")
        job = request.query.get("job")
        runs = wire.number_of(request.query.get("runs", str(USUAL_RUNS)), "runs")
        job_id = None if job is None else JobId(job)
        return reply(await self._service.job_history(name, job_id, runs=runs))

    @operation(Key.PERSON, {200: RunDiff}, role=Role.VIEWER, errors=(UnknownRun,))
    async def diff(self, request: web.Request) -> web.Response:
        """200: two runs side by side."""
        self._require(request, Role.VIEWER)
        before, after = (RunId(int(request.match_info[name])) for name in ("before", "after"))
        return reply(await self._service.diff(before, after))

    @operation(Key.PERSON, {200: PruneReply}, role=Role.ADMIN, body=PruneRequest)
    async def prune(self, request: web.Request) -> web.Response:
        """200: old runs are gone; or they were only counted."""
        self._require(request, Role.ADMIN)
        return reply(await self._service.prune(await read_message(request, PruneRequest)))

    def _require(self, request: web.Request, role: Role) -> None:
        require_role(self._verifier, request, Audience.JOBSTORE, role)
