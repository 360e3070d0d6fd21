import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from shared.errors import Misconfigured
from shared.keys import Keys, load_keys
from shared.runtime import SystemRuntime
from shared.secret_files import is_same_secret


def pem(keys: Keys) -> bytes:
    return keys.signing.private_bytes_raw()


def test_the_first_start_makes_keys_that_only_the_owner_reads(tmp_path: Path) -> None:
    load_keys(tmp_path / "keys", SystemRuntime())

    assert sorted(p.name for p in (tmp_path / "keys").iterdir()) == [
        "enrolment.secret",
        "signing.pem",
    ]
    for path in (tmp_path / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_later_starts_find_the_same_keys(tmp_path: Path) -> None:
    first = load_keys(tmp_path, SystemRuntime())
    again = load_keys(tmp_path, SystemRuntime())

    assert pem(first) == pem(again)
    assert first.enrolment_secret == again.enrolment_secret


def test_daemons_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: load_keys(tmp_path, SystemRuntime()), range(32)))

    assert len({pem(keys) for keys in found}) == 1
    assert len({keys.enrolment_secret for keys in found}) == 1
    assert len(list(tmp_path.iterdir())) == 2  # no temporary file is left


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    one = load_keys(tmp_path / "one", SystemRuntime())
    two = load_keys(tmp_path / "two", SystemRuntime())

    assert pem(one) != pem(two)
    assert one.enrolment_secret != two.enrolment_secret


def test_given_files_go_before_the_data_directory(tmp_path: Path) -> None:
    given = load_keys(tmp_path / "elsewhere", SystemRuntime())

    found = load_keys(
        tmp_path / "data",
        SystemRuntime(),
        signing_key_file=tmp_path / "elsewhere" / "signing.pem",
        enrolment_secret_file=tmp_path / "elsewhere" / "enrolment.secret",
    )

    assert pem(found) == pem(given)
    assert found.enrolment_secret == given.enrolment_secret
    assert not (tmp_path / "data").exists()


def test_a_given_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"cannot read .*nowhere\.pem: No such file"):
        load_keys(tmp_path, SystemRuntime(), signing_key_file=tmp_path / "nowhere.pem")


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\n", b"\xff\x00"])
def test_a_file_that_holds_no_key_is_named_without_its_content(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "signing.pem"
    path.write_bytes(content)

    with pytest.raises(Misconfigured, match="not an unencrypted private key") as refused:
        load_keys(tmp_path, SystemRuntime())

    assert "hello" not in str(refused.value)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").write_bytes(
        generate_private_key(65_537, 1_024).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )

    with pytest.raises(Misconfigured, match="not an Ed25519 key"):
        load_keys(tmp_path, SystemRuntime())


@pytest.mark.parametrize("content", [b"", b"short", b"   \n", b"\xff" * 40])
def test_a_secret_that_protects_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "enrolment.secret").write_bytes(content)

    with pytest.raises(Misconfigured, match="not an enrolment secret"):
        load_keys(tmp_path, SystemRuntime())


def test_a_line_break_after_the_secret_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "enrolment.secret").write_text("0123456789abcdef0123\n")

    assert load_keys(tmp_path, SystemRuntime()).enrolment_secret == "0123456789abcdef0123"


def test_a_place_that_cannot_hold_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(Misconfigured, match=r"cannot create .*signing\.pem: Not a directory"):
        load_keys(tmp_path / "file" / "keys", SystemRuntime())


def test_keys_never_show_themselves(tmp_path: Path) -> None:
    keys = load_keys(tmp_path, SystemRuntime())

    assert keys.enrolment_secret not in repr(keys)
    assert repr(keys) == "Keys()"


def test_secrets_are_compared_whole() -> None:
    assert is_same_secret("abc", "abc")
    assert not is_same_secret("abc", "abd")
    assert not is_same_secret("", "abc")
    assert not is_same_secret("\udcff", "abc")  # as header bytes arrive
