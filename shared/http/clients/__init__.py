"""The three hops over HTTP."""

from shared.http.clients.execution import ExecutionClient
from shared.http.clients.gateway import GatewayClient
from shared.http.clients.jobs import JobsClient
from shared.http.clients.registry import RegistryClient

__all__ = ["ExecutionClient", "GatewayClient", "JobsClient", "RegistryClient"]
