"""Somebody else who enrols under the name of a worker, and is never heard of again.

The worker is superseded: it may not start anything more, and enrols anew when it is started again.
"""

from shared.http.clients import RegistryClient
from shared.http.transport import Credential, Transport
from shared.protocol.registry import EnrolRequest
from simulation.cluster import ENROLMENT_SECRET, REGISTRY, SLOTS, URL, Cluster
from simulation.network import Socket
from simulation.process import Machine
from simulation.runtime import SimRuntime
from simulation.witness import SeenRegistry
from simulation.workload import LABELS


def usurp(cluster: Cluster, name: str) -> None:
    """An enrolment is on its way; whether it arrives is the network's affair."""
    process = cluster.loop.start_process(Machine("usurper"))
    credential = Credential()
    transport = Transport(
        URL[REGISTRY],
        SimRuntime(process),
        token=credential,
        service=REGISTRY,
        socket_factory=Socket,
    )
    registry = SeenRegistry(
        RegistryClient(transport, enrolment_secret=ENROLMENT_SECRET, credential=credential),
        cluster.history,
    )
    ask = EnrolRequest(
        name=name, host="usurper", pid=1, version="0", labels=LABELS[name], slots=SLOTS
    )
    cluster.clients.append(transport)
    process.spawn(registry.enrol(ask), "usurp")
