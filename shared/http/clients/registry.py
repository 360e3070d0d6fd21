"""The registry's verbs over HTTP, for workers and for operators."""

from shared.http import wire
from shared.http.transport import Credential, Transport
from shared.ids import WorkerId
from shared.protocol import registry as r

WORDS = {desired: word for word, desired in wire.WISHES.items()}


class RegistryClient:
    """`Registry` over HTTP. A worker hands in its enrolment secret, and the credential into
    which the worker tokens go that enrolment and reports bring. Nothing is retried: reports
    come again by themselves."""

    def __init__(
        self,
        transport: Transport,
        *,
        enrolment_secret: str | None = None,
        credential: Credential | None = None,
    ) -> None:
        self._transport = transport
        self._enrolment_secret = enrolment_secret
        self._credential = credential

    async def enrol(self, ask: r.EnrolRequest) -> r.EnrolReply:
        answer = await self._transport.request(
            "POST",
            "/v1/workers",
            ask.model_dump_json().encode(),
            token=self._enrolment_secret,
        )
        reply = r.EnrolReply.model_validate_json(answer.body)
        self._keep(reply.worker_id, reply.token)
        return reply

    async def check_name(self, name: str) -> r.NameCheck:
        answer = await self._transport.request(
            "GET", wire.path("v1", "names", name), token=self._enrolment_secret
        )
        return r.NameCheck.model_validate_json(answer.body)

    async def report(self, ask: r.StatusReport) -> r.StatusReply:
        reply = await self._transport.call("report", ask, r.StatusReply.model_validate_json)
        self._keep(ask.worker_id, reply.token)
        return reply

    async def leave(self, worker_id: WorkerId, incarnation: int) -> None:
        await self._transport.request(
            "POST",
            wire.path("v1", "workers", worker_id, "leave"),
            r.Goodbye(incarnation=incarnation).model_dump_json().encode(),
        )

    async def list_workers(self) -> r.WorkerList:
        answer = await self._transport.request("GET", "/v1/workers")
        return r.WorkerList.model_validate_json(answer.body)

    async def wish(self, name: str, ask: r.WishRequest) -> r.WorkerView:
        answer = await self._transport.request(
            "POST",
            wire.path("v1", "workers", name, WORDS[ask.desired]),
            wire.WISH.dump(ask),
        )
        return r.WorkerView.model_validate_json(answer.body)

    async def show_worker(self, name: str) -> r.WorkerDetails:
        answer = await self._transport.request("GET", wire.path("v1", "workers", name))
        return r.WorkerDetails.model_validate_json(answer.body)

    async def set_worker(self, name: str, ask: r.SettingsRequest) -> r.WorkerView:
        answer = await self._transport.request(
            "POST", wire.path("v1", "workers", name, "settings"), wire.SETTINGS.dump(ask)
        )
        return r.WorkerView.model_validate_json(answer.body)

    async def remove(self, name: str) -> None:
        await self._transport.request("DELETE", wire.path("v1", "workers", name))

    def _keep(self, worker_id: WorkerId, token: str | None) -> None:
        if token is not None and self._credential is not None:
            self._credential.keep(worker_id, token)
