"""Ports that nobody listens at."""

import secrets
import socket
from contextlib import ExitStack, suppress


def free_ports(count: int) -> list[int]:
    """Below those that systems give to connections: one of these may take a port while a hub is stopped."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            probe, port = stack.enter_context(socket.socket()), secrets.choice(range(20_000, 32_000))
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    return found
