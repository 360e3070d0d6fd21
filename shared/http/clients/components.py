"""Components over HTTP: worker to gateway, gateway to job service, people to job service."""

from shared.errors import Forbidden, Unauthenticated, Unavailable
from shared.http import wire
from shared.http.transport import Answer, Transport
from shared.protocol import components as c


class ComponentsClient:
    """`Components` over HTTP. A gateway names in a header for which worker it asks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create_component(self, ask: c.CreateComponent) -> None:
        await self._post("/v1/components", wire.CREATE_COMPONENT.dump(ask), ask.owner)

    async def prepare_component(self, ask: c.PrepareComponent) -> c.PreparedComponent:
        path = wire.path("v1", "components", ask.component_id, "prepare")
        answer = await self._post(path, b"{}", ask.owner)
        return c.PreparedComponent.model_validate_json(answer.body)

    async def beat_component(self, ask: c.ComponentBeat) -> None:
        path = wire.path("v1", "components", ask.component_id, "beat")
        await self._post(path, wire.BEAT_COMPONENT.dump(ask), ask.owner)

    async def complete_component(self, ask: c.CompleteComponent) -> None:
        path = wire.path("v1", "components", ask.component_id, "complete")
        await self._post(path, wire.COMPLETE_COMPONENT.dump(ask), ask.owner)

    async def list_components(self, ask: c.ComponentFilter) -> c.ComponentList:
        query = "?with_ended=true" if ask.with_ended else ""
        answer = await self._transport.request("GET", f"/v1/components{query}")
        return c.ComponentList.model_validate_json(answer.body)

    async def _post(self, path: str, body: bytes, owner: str) -> Answer:
        headers = {wire.WORKER: owner} if owner else None
        try:
            return await self._transport.request("POST", path, body, headers=headers)
        except (Unauthenticated, Forbidden):
            if not owner:
                raise
            raise Unavailable(  # no worker can do anything about it
                "the job service does not accept this gateway's token", service="jobstore"
            ) from None
