"""What daemons are told in words of their own: an address, a policy, a name."""

from typing import Final

from drawbar.cli.failures import Usage
from worker.settings import RegistryPolicy

LONGEST_GRACE_S: Final = 86_400.0


def parse_address(listen: str, option: str = "--listen") -> tuple[str, int]:
    """Host and port of HOST:PORT, [HOST]:PORT or :PORT (every interface)."""
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise Usage(f"{option} takes HOST:PORT, for example 127.0.0.1:7402; found {listen!r}")
    return host.strip("[]") or "0.0.0.0", int(port)


def parse_policy(text: str) -> RegistryPolicy:
    """`strict`, `off`, or the seconds of grace=SECONDS."""
    if text == "strict":
        return "strict"
    if text == "off":
        return "off"
    name, _, seconds = text.partition("=")
    try:
        grace_s = float(seconds) if name == "grace" else -1.0
    except ValueError:
        grace_s = -1.0
    if not 0 <= grace_s < LONGEST_GRACE_S:
        raise Usage(f"--registry-policy takes strict, off or grace=SECONDS; found {text!r}")
    return grace_s


def checked_name(name: str) -> str:
    """A worker's name is also that of its folder."""
    if not name.isprintable() or "/" in name or name in ("", ".", "..") or len(name) > 200:
        raise Usage(f"{name!r} cannot be a worker's name: it is also the name of its folder")
    return name
