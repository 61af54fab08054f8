"""Clusters of endpoints without a socket, for tests of who is chosen (``native/balance.c``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from blitz._native import ffi, lib

LB = {
    "round_robin": lib.BLITZ_LB_ROUND_ROBIN,
    "least_conn": lib.BLITZ_LB_LEAST_CONN,
    "random_two": lib.BLITZ_LB_RANDOM_TWO,
    "hash": lib.BLITZ_LB_HASH,
}


class Endpoints:
    """A cluster with an endpoint for each of *weights*; ``names`` decide where hashed keys go."""

    def __init__(self, lb: str, weights: Sequence[float], names: Sequence[str] = (), **settings: Any) -> None:
        self.endpoints = [ffi.gc(lib.blitz_endpoint_new(1, 60, 0), lib.blitz_endpoint_free) for _ in weights]
        self._natives = ffi.new("blitz_endpoint *[]", self.endpoints)
        self.native = ffi.new(
            "blitz_cluster *", {"n": len(weights), "endpoints": self._natives, "lb": LB[lb]}
        )
        self.native.max_fails, self.native.fail_duration, self.native.max_ejected = 1, 1.0, 1.0
        for name, value in settings.items():
            setattr(self.native, name, value)
        for index, (one, weight) in enumerate(zip(self.endpoints, weights, strict=True)):
            name = (names[index] if names else f"10.0.0.{index}:80").encode()
            one.weight, one.cluster = weight, self.native
            one.key = lib.blitz_balance_hash(name, len(name))

    def choose(self, now: float = 0.0, exchange: Any = ffi.NULL, tried: Sequence[int] = ()) -> int:
        flags = ffi.new("uint8_t[]", [index in tried for index in range(self.native.n)])
        return int(lib.blitz_cluster_choose(self.native, exchange, now, flags))

    def take(self, now: float = 0.0, exchange: Any = ffi.NULL) -> int:
        """Choose, and count it."""
        index = self.choose(now, exchange)
        lib.blitz_cluster_take(self.native, index, now)
        self.endpoints[index].active += 1
        return index

    def end(self, index: int) -> None:
        self.endpoints[index].active -= 1

    def fail(self, index: int, now: float) -> bool:
        return bool(lib.blitz_endpoint_failed(self.endpoints[index], now))

    def ejected(self, now: float) -> int:
        return sum(now < one.fails_until for one in self.endpoints)


@contextmanager
def request_of(*fields: tuple[str, str], target: str = "/") -> Iterator[Any]:
    """A cffi ``blitz_exchange *`` with a GET."""
    exchange = lib.blitz_exchange_new()
    request = exchange.request
    assert not lib.blitz_head_start_request(request, b"GET", 3, target.encode(), len(target), 1)
    for name, value in fields:
        assert lib.blitz_head_add(request, name.encode(), len(name), value.encode(), len(value)) >= 0
    try:
        yield exchange
    finally:
        lib.blitz_exchange_free(exchange)
