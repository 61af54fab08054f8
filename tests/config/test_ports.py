"""Which two listening addresses take one another's port: what the rule says is what the system does."""

from __future__ import annotations

import contextlib
import itertools
import socket

import pytest

from blitz.config.addresses import parse_address

from ..ports import free_port

HOSTS = ("", "0.0.0.0", "[::]", "127.0.0.1", "127.0.0.2", "[::1]", "localhost", "LocalHost")
# What "localhost" stands for is not the machine's to say (RFC 6761 section 6.3).
STANDS_FOR = {"": ("0.0.0.0", "::"), "localhost": ("127.0.0.1", "::1")}


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


def can_both_listen(one: str, another: str, port: int) -> bool:
    with contextlib.ExitStack() as stack:
        for host in (*STANDS_FOR.get(one, (one,)), *STANDS_FOR.get(another, (another,))):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = stack.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                sock.bind((host, port))
            except OSError:
                return False
            sock.listen()
    return True


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize(("one", "another"), list(itertools.product(HOSTS, HOSTS)))
def test_two_addresses_of_a_port(one: str, another: str) -> None:
    port = free_port()
    first, second = parse_address(f"{one}:{port}"), parse_address(f"{another}:{port}")
    assert first.takes_port_of(second) == second.takes_port_of(first)
    assert first.takes_port_of(second) != can_both_listen(first.host, second.host, port)
