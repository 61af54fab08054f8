"""What does each shape of traffic cost? CPU per request, Blitz beside nginx, HAProxy and Caddy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .harness.bench import HEADERS, Bench, say
from .harness.check import API_KEY, CLIENT, FIXED_SIZE, JSON_BODY, TOKEN
from .harness.compile import has_openssl
from .harness.load import Shape
from .harness.site import FILE, FILE_SIZE
from .harness.table import Claim, Column, Row, Slice, Table, ratio

QUESTION = "what does each shape of traffic cost?"
METHOD = """
CPU per request of the server, median of the rounds; 64 connections, where not said otherwise kept alive,
through to an origin that answers at once, a thing at a time switched on. Where a plugin does the work, nginx
does it in Lua. A ratio is Blitz's median over nginx's. The list is the traffic that people have: a speed that
holds for one line of it only is none.
"""

KIB = 1 << 10
MIB = 1 << 20
_PEERS = ("nginx", "haproxy", "caddy")
_SMOKE_TRANSFER = 4 * MIB


@dataclass(frozen=True)
class Kind:
    """One line of the table."""

    name: str
    job: str  # how the servers are set up
    shape: Shape
    wanted: float | None  # CPU per request over nginx's, at most; None: nobody else here can do it


def _get(path: str, length: int, **more: Any) -> Shape:
    return replace(Shape(path=path, length=length, headers=HEADERS, poll=True), **more)


def _post(size: int, **more: Any) -> Shape:
    return _get("/", len(f"received {size}\n"), body=size, **more)


_SMALL = _get("/", FIXED_SIZE)
_FORWARDED = _get("/", FIXED_SIZE, headers=(*HEADERS, f"X-Forwarded-For: {CLIENT}"))
_JSON = _get("/", len("received 1024\n"), body=len(JSON_BODY), fill=JSON_BODY)
_GZIP = _get(f"/json/{16 * KIB}", -1, headers=(*HEADERS, "Accept-Encoding: gzip"))
_TLS = _get("/", FIXED_SIZE, tls=True)

KINDS = [
    Kind("GET, 128 B", "proxy", _SMALL, 0.95),
    Kind("GET, 4 KB", "proxy", _get(f"/bytes/{4 * KIB}", 4 * KIB), 0.95),
    Kind("GET, 64 KB", "proxy", _get(f"/bytes/{64 * KIB}", 64 * KIB), 1.15),
    Kind("GET, 256 KB", "proxy", _get(f"/bytes/{256 * KIB}", 256 * KIB), 1.0),
    Kind("GET, 16 KB chunked", "proxy", _get(f"/chunked/{16 * KIB}", 16 * KIB), 1.2),
    Kind("POST, 128 B", "proxy", _post(128), 1.3),
    Kind("POST, 16 KB", "proxy", _post(16 * KIB), 1.3),
    Kind("POST, 16 KB chunked", "proxy", _post(16 * KIB, chunked=True), 1.5),
    Kind("GET, HTTP/1.0 kept alive", "proxy", replace(_SMALL, http10=True), 1.3),
    Kind("access log, JSON to a file", "json-log", _SMALL, 1.2),
    Kind("request id", "request-id", _SMALL, 1.1),
    Kind("deadline for the whole request", "total", _SMALL, 1.1),
    Kind("two endpoints", "endpoints", _SMALL, 1.1),
    Kind("least_conn over four endpoints", "least-conn", _SMALL, 1.2),
    Kind("a redirect", "redirect", replace(_SMALL, status=308, length=-1), 1.2),
    Kind("three fields set, two removed", "header-edits", _SMALL, 1.2),
    Kind("a list of 64 networks", "ip-allow", _SMALL, 1.2),
    Kind(
        "a signed token", "jwt", replace(_SMALL, headers=(*HEADERS, f"Authorization: Bearer {TOKEN}")), None
    ),
    Kind("trusted proxy", "trusted", _FORWARDED, 1.1),
    Kind("gzip of 16 KB JSON", "gzip", _GZIP, 1.2),
    Kind("plugin sets a response header", "response-header", _SMALL, 1.1),
    Kind("plugin rewrites 1 KB of JSON", "body", _JSON, 1.3),
    Kind("the three built-in plugins", "built-in", replace(_SMALL, headers=(f"x-api-key: {API_KEY}",)), 1.5),
    Kind("static 16 KB file", "static", _get(FILE, FILE_SIZE), 1.2),
    Kind("TLS 1.3, GET 128 B", "tls", _TLS, 1.1),
    Kind("TLS 1.3, 100 MiB", "tls", _get(f"/bytes/{100 * MIB}", 100 * MIB, tls=True, connections=1), 1.0),
    Kind("TLS 1.3, a handshake each", "tls", replace(_TLS, fresh=True), 1.5),
    Kind("TLS 1.3, a resumed one each", "tls", replace(_TLS, fresh=True, resume=True), 1.5),
]


def run(bench: Bench) -> list[Table]:
    table = Table("shapes", QUESTION, _columns(bench), METHOD)
    if not has_openssl():
        table.left_out["TLS"] = "the load generator needs OpenSSL's headers (Debian: libssl-dev)"
    with bench.polling_origin():
        for job in dict.fromkeys(kind.job for kind in KINDS):
            if job != "tls" or has_openssl():
                _measure(bench, table, job)
    return [table]


def _columns(bench: Bench) -> Sequence[Column]:
    others = [peer.name for peer in bench.peers if peer.name.startswith("blitz (")]
    names = ["blitz", *others, *_PEERS]
    ratios = [Column(f"{name}/nginx", f"{name} / nginx", digits=2) for name in names if name != "nginx"]
    return [*(Column(name, name, "µs", 1) for name in names), *ratios]


def _measure(bench: Bench, table: Table, job: str) -> None:
    """All kinds of one job, with its servers started once."""
    peers = [peer for peer in bench.peers if _column(peer.name) in {c.key for c in table.columns}]
    scratch = Table(job, QUESTION, [])
    with bench.contenders(scratch, job, peers=peers, listed=False) as contenders:
        for kind in (kind for kind in KINDS if kind.job == job):
            say(f"    {kind.name}")
            shape = _smaller(kind.shape) if bench.settings.smoke else kind.shape
            seconds = (
                max(bench.settings.seconds, 1.0) if shape.length >= MIB else None
            )  # some transfers at least
            slices = bench.interleave(scratch, contenders, shape, seconds=seconds)
            table.rows.append(_row(kind, slices))
            value = table.rows[-1].median("blitz/nginx")
            if kind.wanted is not None:
                table.claims.append(
                    Claim(f"{kind.name}: CPU over nginx's", value, kind.wanted, at_least=False, unit="x")
                )
    table.left_out.update(scratch.left_out)
    table.broken.update({f"{job}/{name}": why for name, why in scratch.broken.items()})


def _column(peer: str) -> str:
    """nginx with Lua stands in nginx's column: it is there only where nginx alone cannot do the work."""
    return peer.removesuffix(" + lua")


def _row(kind: Kind, slices: dict[str, list[Slice]]) -> Row:
    row = Row(kind.name)
    for name, some in slices.items():
        row.values[_column(name)] = [one.cpu_us for one in some]
    for column in list(row.values):
        value = ratio(row.median(column), row.median("nginx"))
        if value is not None and column != "nginx":
            row.values[f"{column}/nginx"] = [value]
    return row


def _smaller(shape: Shape) -> Shape:
    """For a run that shows only that everything works: no transfer may last longer than a slice."""
    if shape.length <= _SMOKE_TRANSFER:
        return shape
    return replace(shape, path=f"/bytes/{_SMOKE_TRANSFER}", length=_SMOKE_TRANSFER)
