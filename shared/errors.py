"""Every way a verb can fail, as one tree.

A class is a fact, named as one; its docstring tells the caller what to do. Its keyword facts go
to the HTTP body and to the log alike. Over HTTP an error is {code, message, facts, retryable}
and the client raises the same class again. Codes are protocol: add, never rename.
"""

from typing import Any, ClassVar


class ServiceError(Exception):
    """Something that a caller of a verb must know. Subclasses say what."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", /, **facts: Any) -> None:
        self.message = message or (self.__doc__ or self.code).strip().splitlines()[0]
        self.facts = facts
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message


# -- the caller's doing ---------------------------------------------------------------------


class BadRequest(ServiceError):
    """The message cannot be understood. Mend it; sending it again will not help."""

    code, status = "bad_request", 400


class BadPipeline(ServiceError):
    """The pipeline has mistakes; facts["mistakes"] lists all of them. Nothing was stored."""

    code, status = "bad_pipeline", 422


class TooLarge(ServiceError):
    """A body, a path or a count is over its limit."""

    code, status = "too_large", 413


class Unauthenticated(ServiceError):
    """No token, or one that does not check out; facts["check"] names the check that failed."""

    code, status = "unauthenticated", 401


class Forbidden(ServiceError):
    """The token is genuine but does not open this door; facts["check"] says why."""

    code, status = "forbidden", 403


class UnsupportedVersion(ServiceError):
    """This service does not speak that protocol version; facts["supported"] lists those it does."""

    code, status = "unsupported_version", 406


class NotFound(ServiceError):
    """There is no such thing; facts say what was looked for."""

    code, status = "not_found", 404


class UnknownRun(NotFound):
    """There is no run with that number."""

    code = "unknown_run"


class UnknownJob(NotFound):
    """The run has no job with that id."""

    code = "unknown_job"


class UnknownAttempt(NotFound):
    """There is no such attempt. Stop the process, if there is one, and forget it."""

    code = "unknown_attempt"


class UnknownSchedule(NotFound):
    """There is no schedule of that name."""

    code = "unknown_schedule"


class UnknownBackfill(NotFound):
    """There is no backfill with that number."""

    code = "unknown_backfill"


class UnknownWorker(NotFound):
    """The registry does not know this worker. Enrol again."""

    code = "unknown_worker"


class UnknownArtifact(NotFound):
    """The job has no artifact of that path."""

    code = "unknown_artifact"


class UnknownVariable(NotFound):
    """There is no variable of that name."""

    code = "unknown_variable"


class UnknownConnection(NotFound):
    """There is no connection of that name."""

    code = "unknown_connection"


class UnknownComponent(NotFound):
    """No component of that id is recorded, or it is another's. Make a new record."""

    code = "unknown_component"


class UnknownBundle(NotFound):
    """The run has no files of that hash."""

    code = "unknown_bundle"


class UnknownCallback(NotFound):
    """There is no such callback, or its secret is another one."""

    code = "unknown_callback"


class AttemptArchived(ServiceError):
    """The attempt ended long ago and was put away. Stop the process, if there is one."""

    code, status = "attempt_archived", 410


# -- somebody else was first ----------------------------------------------------------------


class Conflict(ServiceError):
    """The thing is in another state than the verb needs; facts["state"] is the state that won."""

    code, status = "conflict", 409


class IllegalTransition(Conflict):
    """What was asked cannot happen to a thing in the state facts["state"]."""

    code = "illegal_transition"


class StaleFence(Conflict):
    """The attempt no longer owns the job. Stop the process; the result was kept as evidence."""

    code = "stale_fence"


class ResultConflict(Conflict):
    """This attempt already reported another result. The first one stands."""

    code = "result_conflict"


class KeyReused(Conflict):
    """The Idempotency-Key was used before with another body. Use a new key."""

    code = "key_reused"


class WorkerSuperseded(Conflict):
    """A newer worker enrolled under this name. Stop, or choose another name."""

    code = "worker_superseded"


class LogOffsetMismatch(ServiceError):
    """The log must go on at facts["resume_at"], the number of bytes that the server holds."""

    code, status = "log_offset_mismatch", 416


class PartOffsetMismatch(LogOffsetMismatch):
    """The artifact must go on at facts["resume_at"]: the service has the bytes before."""

    code = "part_offset_mismatch"


# -- the system's doing ---------------------------------------------------------------------


class Overloaded(ServiceError):
    """The service sheds load. Try again after the time it names."""

    code, status, retryable = "overloaded", 503, True


class Unavailable(ServiceError):
    """A service is away or failing; facts["service"] names it. Nothing is known of the effect."""

    code, status, retryable = "unavailable", 503, True


class StoreFailed(ServiceError):
    """The store met an I/O error and acknowledges no more. A restart recovers from disk."""

    code, status, retryable = "store_failed", 503, True


class StoreUnusable(ServiceError):
    """The database cannot be opened: corrupt, newer than this program, or not writable."""

    code = "store_unusable"


class Misconfigured(ServiceError):
    """A setting, file or address does not let the program start; the message says which."""

    code = "misconfigured"


def _tree(root: type[ServiceError]) -> dict[str, type[ServiceError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_CODE = _tree(ServiceError)


def to_wire(error: ServiceError) -> dict[str, Any]:
    """The error as a body; `retryable`: the same request may succeed later."""
    return {
        "code": error.code,
        "message": error.message,
        "facts": error.facts,
        "retryable": error.retryable,
    }


def from_wire(code: str, message: str, facts: dict[str, Any]) -> ServiceError:
    """The error that the other side raised; a plain ServiceError for a code that is newer."""
    return BY_CODE.get(code, ServiceError)(message, **facts)
