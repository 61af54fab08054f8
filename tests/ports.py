"""Ports for servers that are told where to listen."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

# Below those that the kernel gives to whoever asks for any (32768 and up): else another socket, of this
# process or of one that tests at the same time, may get the port before its server listens there.
_RANGE = (10240, 32000)
_random = random.SystemRandom()  # hypothesis seeds the common one: two processes would choose alike


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens."""
    while True:
        port = _random.randrange(*_RANGE)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
