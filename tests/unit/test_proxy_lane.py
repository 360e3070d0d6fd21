"""How a proxy ends connections."""

import asyncio
import socket

from faults.proxy.lane import hang_up


async def test_a_connection_whose_socket_is_gone_already_can_be_reset() -> None:
    near, far = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=near)
    near.close()

    hang_up(writer, is_reset=True)

    far.close()
