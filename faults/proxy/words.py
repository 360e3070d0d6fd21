"""The faults that a connection can meet, by the names that the fault catalogue gives them.

*Up* is from the client to the server that the proxy stands in front of, *down* the way back.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal, get_args

from pydantic import Field, TypeAdapter, model_validator

from shared.protocol.base import Document

MAX_S: Final = 3_600.0
Seconds = Annotated[float, Field(ge=0, le=MAX_S)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class Way(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


class _Fault(Document):
    probability: float = Field(default=1.0, ge=0, le=1)  # of each connection, or each message
    times: Count | None = None  # how often at most; None: for as long as it is on


# -- connect: what becomes of new connections ------------------------------------------------------


class Refuse(_Fault):
    """Nobody listens."""

    kind: Literal["refuse"] = "refuse"


class BlackholeSyn(_Fault):
    """The backlog is full, so that connecting neither succeeds nor fails."""

    kind: Literal["blackhole_syn", "backlog_full"] = "blackhole_syn"


class AcceptThenClose(_Fault):
    kind: Literal["accept_then_close"] = "accept_then_close"


# -- stream: what becomes of bytes -----------------------------------------------------------------


class Latency(_Fault):
    """Bytes arrive later, in order: by `latency_s`, give or take `jitter_s`."""

    kind: Literal["latency", "jitter"] = "latency"
    way: Way = Way.BOTH
    latency_s: Seconds = 0.1
    jitter_s: Seconds = 0.0


class Bandwidth(_Fault):
    kind: Literal["bandwidth", "slow_reader", "slow_loris_headers", "slow_loris_body"] = "bandwidth"
    way: Way = Way.BOTH
    bytes_per_s: int = Field(default=10_000, ge=1, le=2**40)


class Slicer(_Fault):
    """Bytes arrive in pieces, cut anywhere."""

    kind: Literal["slicer"] = "slicer"
    way: Way = Way.BOTH
    max_bytes: int = Field(default=16, ge=1, le=65_536)
    gap_s: Seconds = 0.0


class LimitData(_Fault):
    """The connection is closed after so many bytes."""

    kind: Literal["limit_data"] = "limit_data"
    way: Way = Way.DOWN
    after_bytes: Count = 1_000


class ResetMidway(_Fault):
    """The connection is reset after so many bytes of a request, or of a response."""

    kind: Literal["reset_mid_request", "reset_mid_response"]
    after_bytes: Count = 100

    @property
    def way(self) -> Way:
        return Way.UP if self.kind == "reset_mid_request" else Way.DOWN


class ResetPeer(_Fault):
    """The connection is reset `after_s` after it was made."""

    kind: Literal["reset_peer"] = "reset_peer"
    after_s: Seconds = 0.0


class Stall(_Fault):
    """Bytes are held back while this is on, from the n-th on; they arrive when it is over."""

    kind: Literal["timeout", "partition", "partition_one_way"] = "partition"
    way: Way = Way.BOTH
    after_bytes: Count = 0

    @model_validator(mode="after")
    def _says_which_way(self) -> "Stall":
        if self.kind == "partition_one_way" and self.way is Way.BOTH:
            raise ValueError("say which way: up or down")
        return self


class HalfOpen(_Fault):
    """Power was lost at the other end: nothing arrives any more, and nobody says so."""

    kind: Literal["half_open"] = "half_open"
    after_bytes: Count = 0
    way: Literal[Way.BOTH] = Way.BOTH


class SlowClose(_Fault):
    """The end of the stream arrives late."""

    kind: Literal["slow_close"] = "slow_close"
    way: Way = Way.BOTH
    delay_s: Seconds = 1.0


class Corrupt(_Fault):
    """A bit of a piece is flipped: `probability` is that of each piece."""

    kind: Literal["corrupt"] = "corrupt"
    way: Way = Way.BOTH


# -- message: what becomes of requests and responses of HTTP/1.1, and of frames after an upgrade ---


class OfMessage(_Fault):
    path: str = Field(default="*", max_length=200)  # with wildcards: of requests whose path fits


class DupRequest(OfMessage):
    """The server gets the request twice."""

    kind: Literal["dup_request"] = "dup_request"
    after_s: Seconds = 0.0


class LateRequest(OfMessage):
    """The client's connection is reset, and the server gets the request afterwards."""

    kind: Literal["late_request"] = "late_request"
    after_s: Seconds = 1.0


class ReorderRequests(OfMessage):
    """The request waits until another one has passed, or for `hold_s`."""

    kind: Literal["reorder_requests"] = "reorder_requests"
    hold_s: Seconds = 1.0


class KeepaliveRace(OfMessage):
    """The connection is reset when the client uses it again."""

    kind: Literal["keepalive_race"] = "keepalive_race"


class Answered(OfMessage):
    """The proxy answers instead of the server, which does not get the request."""

    kind: Literal["5xx_burst", "429"]
    retry_after_s: int = Field(default=0, ge=0, le=3_600)


class LostResponse(OfMessage):
    """The server answers, and the client's connection is reset instead."""

    kind: Literal["lost_response"] = "lost_response"


class BadResponse(OfMessage):
    kind: Literal["truncated_body", "wrong_length", "garbage_status_line", "bad_gzip"]


OfConnect = Refuse | BlackholeSyn | AcceptThenClose
OfStream = (
    Latency
    | Bandwidth
    | Slicer
    | LimitData
    | ResetMidway
    | ResetPeer
    | Stall
    | HalfOpen
    | SlowClose
    | Corrupt
)
OfRequest = DupRequest | LateRequest | ReorderRequests | KeepaliveRace | Answered
OfResponse = LostResponse | BadResponse
ProxyFault = Annotated[OfConnect | OfStream | OfRequest | OfResponse, Field(discriminator="kind")]
PROXY_FAULTS: Final[TypeAdapter[list[ProxyFault]]] = TypeAdapter(list[ProxyFault])


def _kinds() -> dict[str, dict[str, str]]:
    """Each fault by its kind, with its own fields and their defaults."""
    found = {}
    for model in (
        *get_args(OfConnect),
        *get_args(OfStream),
        *get_args(OfRequest),
        *get_args(OfResponse),
    ):
        fields = {
            name: "" if field.is_required() else str(getattr(field.default, "value", field.default))
            for name, field in model.model_fields.items()
            if name not in ("kind", "probability", "times")
        }
        for kind in get_args(model.model_fields["kind"].annotation):
            found[kind] = fields
    return found


KINDS: Final = _kinds()
