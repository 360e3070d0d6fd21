"""What was told about runs, over HTTP."""

from shared.http import wire
from shared.http.clients.asking import Asking
from shared.ids import RunId
from shared.protocol.notifications import NotificationList


class NotificationsClient(Asking):
    """`Notifications` over HTTP."""

    async def list_notifications(self, run_id: RunId) -> NotificationList:
        path = wire.path("v1", "runs", run_id, "notifications")
        return await self._ask("GET", path, NotificationList)
