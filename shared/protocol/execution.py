"""What a running task may ask of its run, and how it may say that it ended.

A request is the same message at every hop: as a frame of the task runner (`ask` names it), as a
verb of `shared.services.Execution`, and as a call of the execution API. Whose request it is never
stands in it: the supervisor adds the `Scope`, which travels in the path and the token.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, JsonValue, StringConstraints

from shared.ids import AttemptId, JobId, WorkerId
from shared.protocol.base import Fence, Message
from shared.protocol.pipeline import MAX_DURATION_S, Name

MAX_VALUE_BYTES: Final = 4 * 1024 * 1024  # of a variable or an XCom, as JSON
MAX_LISTED: Final = 1_000  # keys or items in one answer
RETURN_VALUE: Final = "return_value"  # the key of what a function returned

Prefix = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
Words = Annotated[str, Field(max_length=2_000)]
Index = Annotated[int, Field(ge=0, le=2**31)]
Offset = Annotated[int, Field(ge=-(2**31), le=2**31)]
Limit = Annotated[int, Field(ge=1, le=MAX_LISTED)]


class Scope(Message):
    """Whose request it is. It opens what belongs to the run of that attempt, while it is live."""

    attempt_id: AttemptId
    worker_id: WorkerId
    fence: Fence


# -- variables --------------------------------------------------------------------------------


class GetVariable(Message):
    ask: Literal["get_variable"] = "get_variable"
    key: Name


class SetVariable(Message):
    """A secret's value is masked in logs from the moment it is read or set."""

    ask: Literal["set_variable"] = "set_variable"
    key: Name
    value: str = Field(max_length=MAX_VALUE_BYTES)
    description: Words = ""
    is_secret: bool = False


class DeleteVariable(Message):
    ask: Literal["delete_variable"] = "delete_variable"
    key: Name


class ListVariables(Message):
    """Keys that begin with `prefix`, in order, from the first one greater than `after`."""

    ask: Literal["list_variables"] = "list_variables"
    prefix: Prefix = ""
    after: Prefix = ""
    limit: Limit = 100


class Variable(Message):
    key: Name
    value: str
    is_secret: bool


class Keys(Message):
    keys: tuple[str, ...]


# -- connections ------------------------------------------------------------------------------


class Connection(Message):
    """How to reach something, and as whom. `password` is a secret, and what is secret in `extra`
    is known by its name."""

    name: Name
    kind: Name  # postgres, http, s3, …
    host: str | None = Field(default=None, max_length=2_000)
    port: int | None = Field(default=None, ge=0, le=65_535)
    user: str | None = Field(default=None, max_length=2_000)
    password: str | None = Field(default=None, max_length=20_000, repr=False)
    path: str | None = Field(default=None, max_length=2_000)  # database, bucket, folder, …
    extra: dict[str, JsonValue] = Field(default_factory=dict, max_length=1_000, repr=False)


class GetConnection(Message):
    ask: Literal["get_connection"] = "get_connection"
    name: Name


class SetConnection(Message):
    ask: Literal["set_connection"] = "set_connection"
    connection: Connection


class DeleteConnection(Message):
    ask: Literal["delete_connection"] = "delete_connection"
    name: Name


class ListConnections(Message):
    ask: Literal["list_connections"] = "list_connections"
    prefix: Prefix = ""
    after: Prefix = ""
    limit: Limit = 100


# -- XComs ------------------------------------------------------------------------------------


class GetXCom(Message):
    """What a job of this run left under `key`; None for `job`: this job itself.

    Of a mapped job: what the instance `map_index` left, or without it the list of what all did.
    """

    ask: Literal["get_xcom"] = "get_xcom"
    job: Name | None = None
    key: Name = RETURN_VALUE
    map_index: Index | None = None


class CountXCom(Message):
    """How long the sequence is: the instances of a mapped job, else the items of its list."""

    ask: Literal["count_xcom"] = "count_xcom"
    job: Name
    key: Name = RETURN_VALUE


class GetXComItem(Message):
    """The item at `index` of that sequence; below zero counts from its end."""

    ask: Literal["get_xcom_item"] = "get_xcom_item"
    job: Name
    key: Name = RETURN_VALUE
    index: Offset


class GetXComSlice(Message):
    """As much of `sequence[start:stop:step]` as one answer can carry, and where to go on."""

    ask: Literal["get_xcom_slice"] = "get_xcom_slice"
    job: Name
    key: Name = RETURN_VALUE
    start: Offset | None = None
    stop: Offset | None = None
    step: Offset | None = None


class SetXCom(Message):
    """This job leaves `value` under `key` for others of its run."""

    ask: Literal["set_xcom"] = "set_xcom"
    key: Name = RETURN_VALUE
    value: JsonValue


class DeleteXCom(Message):
    """What this job left under `key` is there no more. Safe when there was nothing."""

    ask: Literal["delete_xcom"] = "delete_xcom"
    key: Name = RETURN_VALUE


class ListXComs(Message):
    ask: Literal["list_xcoms"] = "list_xcoms"
    job: Name | None = None


class XCom(Message):
    """`value` is null as well when nothing was left, which `is_found` tells apart."""

    value: JsonValue
    is_found: bool


class XComCount(Message):
    count: int


class XComSlice(Message):
    """`next_start`: where the next slice begins, with the same stop and step; None: all is here."""

    values: tuple[JsonValue, ...]
    next_start: int | None = None


class ListDependencies(Message):
    """The jobs that this one needed, as they are now. A runner has them in its start frame."""

    ask: Literal["list_dependencies"] = "list_dependencies"


# -- callbacks --------------------------------------------------------------------------------


class NewCallback(Message):
    """A URL for somebody else, to which one message can be posted."""

    ask: Literal["new_callback"] = "new_callback"


class Callback(Message):
    """Wait for it with the trigger `callback`. Whoever knows the URL can post: it is a secret."""

    callback_id: str
    url: str = Field(repr=False)


DataRequest = (
    GetVariable
    | SetVariable
    | DeleteVariable
    | ListVariables
    | GetConnection
    | SetConnection
    | DeleteConnection
    | ListConnections
    | GetXCom
    | CountXCom
    | GetXComItem
    | GetXComSlice
    | SetXCom
    | DeleteXCom
    | ListXComs
    | NewCallback
)

# -- the end of an attempt --------------------------------------------------------------------


class Succeed(Message):
    """`follow`: of the jobs that wait for this one, only these go on. None: all of them."""

    ask: Literal["succeed"] = "succeed"
    follow: tuple[JobId, ...] | None = Field(default=None, max_length=10_000)


class Fail(Message):
    """`may_retry` False: not even when tries are left."""

    ask: Literal["fail"] = "fail"
    reason: Words
    may_retry: bool = True


class Skip(Message):
    ask: Literal["skip"] = "skip"
    reason: Words = ""


class Retry(Message):
    """Failed, and wants its next try, if one is left, after `delay_s` (None: as the rule says)."""

    ask: Literal["retry"] = "retry"
    reason: Words = ""
    delay_s: float | None = Field(default=None, ge=0, le=MAX_DURATION_S)


class TriggerSpec(Message):
    """What a deferred task waits for, without a worker."""

    kind: Name
    params: dict[str, JsonValue] = Field(default_factory=dict)


class Defer(Message):
    """Free the slot; when the trigger fires, go on in `next_method` with its event.

    Where it has not fired within `timeout_s`, go on in `on_timeout`; without that, the try failed.
    """

    ask: Literal["defer"] = "defer"
    trigger: TriggerSpec
    next_method: str = Field(min_length=1, max_length=500)
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    timeout_s: float | None = Field(default=None, ge=0, le=MAX_DURATION_S)
    on_timeout: str | None = Field(default=None, min_length=1, max_length=500)


class Reschedule(Message):
    """Free the slot; begin again at `at`. Costs no try."""

    ask: Literal["reschedule"] = "reschedule"
    at: AwareDatetime
    reason: Words = ""


class Resumption(Message):
    """Where a deferred task goes on, and with what."""

    next_method: str
    arguments: dict[str, JsonValue]
    event: JsonValue


AttemptState = Annotated[
    Succeed | Fail | Skip | Retry | Defer | Reschedule, Field(discriminator="ask")
]


class RunFacts(Message):
    """What a task can know of the run that it belongs to, besides the attempt itself."""

    logical_date: datetime | None = None  # the time for which a schedule started it
    params: dict[str, JsonValue] = Field(default_factory=dict)
