"""Variables and connections as people keep them: as an object, and over HTTP with roles."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from jobstore.app import build_app
from jobstore.execution_data.vault import fingerprint
from shared.errors import BadRequest, Forbidden, Misconfigured, UnknownConnection, UnknownVariable
from shared.http.clients import JobsClient
from shared.http.server import Server
from shared.http.transport import Transport
from shared.protocol import values as v
from shared.protocol.execution import Connection
from shared.services import SharedValues
from shared.tokens import Minter, Role, Verifier
from tests.support.carriers import KEY
from tests.support.jobstore import Hands

DB = Connection(
    name="db", kind="postgres", password="hunter22", extra={"ssl": "on", "api_key": ["k1"]}
)
As = Callable[[Role], Awaitable[SharedValues]]


@pytest.fixture
async def served(hands: Hands) -> AsyncIterator[As]:
    """The service's values, as a person of that role is shown them."""
    runtime = hands.runtime
    verifier = Verifier(KEY.public_key(), runtime)
    minter = Minter(KEY, runtime, verifier)
    async with AsyncExitStack() as stack:
        server = Server(
            build_app(hands.service, verifier, hands.service.execution),
            "127.0.0.1",
            0,
            linger_s=0.05,
        )
        await server.start()
        stack.push_async_callback(server.stop)

        async def client(role: Role) -> SharedValues:
            token = minter.client("eve", role)
            transport = Transport(server.url, runtime, token=lambda: token, service="jobstore")
            stack.push_async_callback(transport.close)
            return JobsClient(transport).values

        yield client


@pytest.fixture(params=["direct", "over_http"])
async def values(request: pytest.FixtureRequest, hands: Hands, served: As) -> SharedValues:
    return hands.service.values if request.param == "direct" else await served(Role.ADMIN)


async def test_a_secret_is_shown_to_who_has_it_revealed(values: SharedValues) -> None:
    await values.put_variable(v.PutVariable(key="region", value="eu", description="where"))
    await values.put_variable(v.PutVariable(key="pin", value="1234", is_secret=True))

    listed = await values.show_variables(v.ValuesFilter())

    assert [(one.key, one.value, one.is_secret) for one in listed.variables] == [
        ("pin", None, True),
        ("region", "eu", False),
    ]
    assert (await values.show_variable("pin", reveal=False)).value is None
    assert (await values.show_variable("pin", reveal=True)).value == "1234"


async def test_a_name_can_tell_a_secret(values: SharedValues) -> None:
    await values.put_variable(v.PutVariable(key="smtp_password", value="x"))

    assert (await values.show_variable("smtp_password", reveal=False)).value is None


async def test_a_new_value_leaves_a_secret_a_secret(values: SharedValues) -> None:
    first = v.PutVariable(key="pin", value="1", is_secret=True, description="of the door")
    await values.put_variable(first)

    await values.put_variable(v.PutVariable(key="pin", value="2"))

    assert await values.show_variable("pin", reveal=True) == v.VariableView(
        key="pin", value="2", description="of the door", is_secret=True
    )


async def test_variables_are_listed_a_page_at_a_time(values: SharedValues) -> None:
    for key in ("a.1", "a.2", "a.3", "b"):
        await values.put_variable(v.PutVariable(key=key, value=key))

    page = await values.show_variables(v.ValuesFilter(prefix="a.", after="a.1", limit=1))

    assert [one.key for one in page.variables] == ["a.2"]


async def test_what_is_secret_in_a_connection_is_hidden(values: SharedValues) -> None:
    await values.put_connection(DB)

    (listed,) = (await values.show_connections(v.ValuesFilter())).connections

    assert listed == await values.show_connection("db", reveal=False)
    assert listed.has_password
    assert listed.connection.password is None
    assert listed.connection.extra == {"ssl": "on", "api_key": ["***"]}
    assert (await values.show_connection("db", reveal=True)).connection == DB


async def test_what_is_not_there_is_unknown(values: SharedValues) -> None:
    for verb in (values.show_variable("x", reveal=False), values.remove_variable("x")):
        with pytest.raises(UnknownVariable, match="'x'"):
            await verb
    for other in (values.show_connection("x", reveal=False), values.remove_connection("x")):
        with pytest.raises(UnknownConnection, match="'x'"):
            await other


async def test_names_with_any_characters_arrive(values: SharedValues) -> None:
    for key in ("a b?c#d%e", "..", "ключ"):
        await values.put_variable(v.PutVariable(key=key, value="1"))
        assert (await values.show_variable(key, reveal=False)).key == key
        await values.remove_variable(key)


@pytest.mark.parametrize(
    ("role", "may_look", "may_put", "may_reveal"),
    [
        (Role.VIEWER, True, False, False),
        (Role.SUBMITTER, True, False, False),
        (Role.OPERATOR, True, True, False),
        (Role.ADMIN, True, True, True),
    ],
)
async def test_each_role_may_do_its_part(
    hands: Hands, served: As, role: Role, may_look: bool, may_put: bool, may_reveal: bool
) -> None:
    await hands.service.values.put_variable(v.PutVariable(key="pin", value="1"))
    await hands.service.values.put_connection(DB)
    eve = await served(role)
    refusals: list[str] = []

    async def may(verb: Awaitable[object]) -> bool:
        try:
            await verb
        except Forbidden as error:
            refusals.append(error.facts["check"])
            return False
        return True

    assert may_look == await may(eve.show_variables(v.ValuesFilter()))
    assert may_look == await may(eve.show_connection("db", reveal=False))
    assert may_put == await may(eve.put_variable(v.PutVariable(key="k", value="1")))
    assert may_put == await may(eve.put_connection(DB))
    assert may_put == await may(eve.remove_variable("pin"))
    assert may_put == await may(eve.remove_connection("db"))
    await hands.service.values.put_variable(v.PutVariable(key="pin", value="1"))
    assert may_reveal == await may(eve.show_variable("pin", reveal=True))
    assert may_reveal == await may(eve.rotate_keys())
    assert set(refusals) <= {"role"}


async def test_a_value_that_is_too_large_is_refused_without_being_told(served: As) -> None:
    eve = await served(Role.ADMIN)
    ask = v.PutVariable.model_construct(key="k", value="hunter22" * 600_000)

    with pytest.raises(BadRequest) as caught:
        await eve.put_variable(ask)

    assert "hunter22" not in str(caught.value)


# -- keys ----------------------------------------------------------------------------------------


def write_keys(folder: Path, *keys: bytes) -> None:
    lines = [base64.urlsafe_b64encode(key).decode() for key in keys]
    (folder / "keys" / "secrets.key").write_text("\n".join(lines) + "\n")


def read_key(folder: Path) -> bytes:
    return base64.urlsafe_b64decode((folder / "keys" / "secrets.key").read_text())


async def test_a_key_is_replaced_while_the_service_runs(
    hands: Hands, values: SharedValues, tmp_path: Path
) -> None:
    await values.put_variable(v.PutVariable(key="k", value="1"))
    await values.put_connection(DB)
    old, new = read_key(tmp_path), b"n" * 32
    write_keys(tmp_path, new, old)

    turned = await values.rotate_keys()

    assert turned == v.RotateReply(sealed=2, keys=2, first_key=fingerprint(new))
    write_keys(tmp_path, new)
    assert (await values.rotate_keys()).keys == 1
    assert (await values.show_variable("k", reveal=True)).value == "1"


async def test_keys_that_do_not_open_what_there_is_change_nothing(
    values: SharedValues, tmp_path: Path
) -> None:
    await values.put_variable(v.PutVariable(key="k", value="1"))
    write_keys(tmp_path, b"n" * 32)

    with pytest.raises(Misconfigured, match="a key that is not given any more"):
        await values.rotate_keys()

    assert (await values.show_variable("k", reveal=True)).value == "1"


async def test_what_no_key_opens_can_be_removed(
    hands: Hands, values: SharedValues, tmp_path: Path
) -> None:
    await values.put_variable(v.PutVariable(key="k", value="1"))
    write_keys(tmp_path, b"n" * 32)
    hands.service.values._vault.become(hands.service.values._vault.renewed())

    with pytest.raises(Misconfigured):
        await values.show_variable("k", reveal=True)
    await values.remove_variable("k")

    assert (await values.show_variables(v.ValuesFilter())).variables == ()
