"""Names for the identifiers that travel between services, so that they cannot be mixed up."""

from typing import NewType

RunId = NewType("RunId", int)
JobId = NewType("JobId", str)  # a job's `id` in its document, unique within its run
AttemptId = NewType("AttemptId", str)  # UUIDv7
WorkerId = NewType("WorkerId", str)  # UUIDv7, the same for all incarnations of one worker name
ClaimId = NewType("ClaimId", str)  # chosen by the worker: makes a claim safe to send twice
