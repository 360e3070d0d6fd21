"""What a worker is granted leaves with the token that opens its next step."""

from shared.protocol import gateway as g
from shared.renewal import AttemptTokens
from shared.services import Gateway


class Issuing:
    """Claims with workload tokens, contexts and renewals with execution tokens.

    Without `tokens` nothing is added: a job service leaves that to the gateway.
    """

    def __init__(self, service: Gateway, tokens: AttemptTokens | None) -> None:
        self._service = service
        self._tokens = tokens

    async def claim(self, ask: g.ClaimRequest) -> g.ClaimReply:
        found = await self._service.claim(ask)
        if (tokens := self._tokens) is None or not found.claims:
            return found

        def with_token(claim: g.Claim) -> g.Claim:
            token = tokens.workload(ask.worker_id, claim.attempt_id, claim.fence)
            return claim.model_copy(update={"token": token})

        return found.model_copy(update={"claims": tuple(map(with_token, found.claims))})

    async def run(self, ask: g.RunRequest) -> g.RunContext:
        context = await self._service.run(ask)
        if self._tokens is None:
            return context
        token = self._tokens.execution(ask.worker_id, ask.attempt_id, context.fence)
        return context.model_copy(update={"token": token})

    async def heartbeat(self, ask: g.HeartbeatRequest) -> g.HeartbeatReply:
        """A verdict for each lease, with a fresh token where the last is old."""
        answer = await self._service.heartbeat(ask)
        if (tokens := self._tokens) is None:
            return answer
        fences = {beat.attempt_id: beat.fence for beat in ask.leases}

        def refreshed(verdict: g.LeaseVerdict) -> g.LeaseVerdict:
            if verdict.verdict is g.Verdict.GONE:
                return verdict
            attempt_id = verdict.attempt_id
            token = tokens.refresh(ask.worker_id, attempt_id, fences[attempt_id])
            return verdict if token is None else verdict.model_copy(update={"token": token})

        return g.HeartbeatReply(leases=tuple(map(refreshed, answer.leases)))
