"""Proxies as people write them down: where each listens, for whom, and what goes wrong there."""

from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from faults.proxy.words import ProxyFault
from faults.told import told
from shared.errors import Misconfigured
from shared.protocol.base import Document

PLAN_BYTES: Final = 1024 * 1024
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\[\]:/ ]+):[0-9]{1,5}$")]


class ProxySpec(Document):
    """One proxy, and the faults that are on from the start."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    listen: Address = "127.0.0.1:0"
    upstream: Address
    protocol: Literal["http", "tcp"] = "http"
    faults: tuple[ProxyFault, ...] = Field(default=(), max_length=100)


class ProxyPlan(Document):
    """The same seed makes the same choices in the same order of events."""

    seed: int = 0
    proxies: tuple[ProxySpec, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _has_different_names(self) -> "ProxyPlan":
        if len({proxy.name for proxy in self.proxies}) < len(self.proxies):
            raise ValueError("two proxies have the same name")
        return self


def proxy_plan_from(path: Path) -> ProxyPlan:
    """What the file says. Misconfigured: where it is wrong, and how."""
    try:
        text = path.read_bytes()
        if len(text) > PLAN_BYTES:
            raise Misconfigured(f"{path}: a plan of proxies has at most {PLAN_BYTES} bytes")
        return ProxyPlan.model_validate(yaml.safe_load(text) or {})
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise Misconfigured(f"{path}: {error}") from None
    except ValidationError as error:
        raise Misconfigured(f"{path}: {told(error)}") from None


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
