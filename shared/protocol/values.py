"""Variables and connections as people keep them. Tasks read them by `shared/protocol/execution.py`.

A secret is shown only to whoever asks for it to be revealed; everybody else sees that it is there.
"""

from pydantic import Field

from shared.protocol.base import Message
from shared.protocol.execution import MAX_VALUE_BYTES, Connection, Limit, Prefix, Words
from shared.protocol.pipeline import Name


class ValuesFilter(Message):
    """Names that begin with `prefix`, in order, from the first one greater than `after`."""

    prefix: Prefix = ""
    after: Prefix = ""
    limit: Limit = 100


class PutVariable(Message):
    """None: as it was before; of a new one: no description, and no secret but by its name."""

    key: Name
    value: str = Field(max_length=MAX_VALUE_BYTES, repr=False)
    description: Words | None = None
    is_secret: bool | None = None


class VariableView(Message):
    key: Name
    value: str | None = Field(repr=False)  # None: it is a secret
    description: str
    is_secret: bool  # marked as one, or called like one


class VariableList(Message):
    variables: tuple[VariableView, ...]


class ConnectionView(Message):
    """`password` is None where there is none, or it is hidden; so are secret texts in `extra`."""

    connection: Connection
    has_password: bool


class ConnectionList(Message):
    connections: tuple[ConnectionView, ...]


class RotateReply(Message):
    """`sealed`: how many variables and connections there are; each is sealed with the first key.

    `first_key` tells keys apart without telling any: the beginning of its hash.
    """

    sealed: int
    keys: int
    first_key: str
