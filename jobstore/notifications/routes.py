"""What was told about runs, as a route."""

from aiohttp import web

from shared.errors import UnknownRun
from shared.http.identity import require_role
from shared.http.operation import Key, operation
from shared.http.server import reply
from shared.ids import RunId
from shared.protocol.notifications import NotificationList
from shared.services import Notifications
from shared.tokens import Audience, Role, Verifier


def add_notification_routes(
    app: web.Application, service: Notifications, verifier: Verifier
) -> None:
    """The application serves `Notifications`."""

    @operation(Key.PERSON, {200: NotificationList}, role=Role.VIEWER, errors=(UnknownRun,))
    async def list_notifications(request: web.Request) -> web.Response:
        """Where each message about the run stands; never its secrets."""
        require_role(verifier, request, Audience.JOBSTORE, Role.VIEWER)
        run_id = RunId(int(request.match_info["run_id"]))
        return reply(await service.list_notifications(run_id))

    path = "/v1/runs/{run_id:[0-9]{1,18}}/notifications"
    app.router.add_get(path, list_notifications, allow_head=False)
