"""The three hops over HTTP."""

from shared.http.clients.components import ComponentsClient
from shared.http.clients.execution import ExecutionClient
from shared.http.clients.gateway import GatewayClient
from shared.http.clients.jobs import JobsClient
from shared.http.clients.registry import RegistryClient

__all__ = ["ComponentsClient", "ExecutionClient", "GatewayClient", "JobsClient", "RegistryClient"]
