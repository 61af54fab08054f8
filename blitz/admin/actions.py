"""What operators may change while a gateway runs: ``POST`` on the admin listener.

/reload                       read the configuration and the plugins' files again
/plugins/NAME/quarantine      do not run it; its failure policy applies
/plugins/NAME/release         end its quarantine, whoever began it
/upstreams/NAME/drain         {"endpoint": "127.0.0.1:9000"}: no new requests; what runs goes on
/upstreams/NAME/ready         the same: new requests again
/log                          {"level": "debug"}, or "configured"
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import msgspec

from blitz.http.reply import Reply

from .desk import Busy, Desk, Done, Failed
from .guard import NO_STORE
from .wishes import LEVELS, Change

if TYPE_CHECKING:
    from blitz.server.context import ServerContext
    from blitz.server.runtime import Runtime

    from .report import Reporter

__all__ = ["MAX_BODY", "Operated", "Refused", "change", "json_reply"]

JSON = b"application/json"
MAX_BODY = 4096
MAX_SAID = 100  # characters of what somebody sent, in a sentence
CONFIGURED = "configured"


@dataclass(frozen=True, slots=True)
class Operated:
    """What is operated: one process, and over its desk all of them."""

    context: ServerContext
    desk: Desk
    reporter: Reporter

    @property
    def runtime(self) -> Runtime:
        return self.context.runtime


class Refused(Exception):
    """What is asked for is not done; *reply* says why."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.status)


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    endpoint: str = ""
    level: str = ""


def json_reply(status: int, value: Any) -> Reply:
    """*value* to be read by programs and by people."""
    body = msgspec.json.format(msgspec.json.encode(value), indent=2)
    return Reply(status, body + b"\n", JSON, (NO_STORE,))


async def change(operated: Operated, path: bytes, body: bytes) -> Reply:
    """Do what a POST to *path* asks for.

    Raises:
        Refused.
    """
    wanted = _wanted(operated, path, _read(body))
    try:
        done = await operated.desk.carry_out(wanted)
    except Busy:
        raise _refused(503, "too many changes are under way; try again later") from None
    except Failed as failed:
        raise _refused(504, str(failed)) from failed
    return _told(done)


def _told(done: Done) -> Reply:
    told = msgspec.to_builtins(done)
    if done.errors:
        return json_reply(422, {"error": "; ".join(done.errors)} | told)
    return json_reply(200, told)


def _read(body: bytes) -> _Said:
    if not body.strip():
        return _Said()
    try:
        return msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _refused(400, f"the body is not what is expected here: {_short(str(exc))}") from exc


def _wanted(operated: Operated, path: bytes, said: _Said) -> Change:
    words = [_word(word) for word in path.split(b"/")[1:]]
    new = secrets.token_hex(8)
    match words:
        case ["reload"]:
            return Change(id=new, what="reload")
        case ["log"]:
            return Change(id=new, what="level", name=_level(said.level))
        case ["plugins", name, "quarantine"]:
            return Change(id=new, what="hold", name=_plugin(operated, name))
        case ["plugins", name, "release"]:
            return Change(id=new, what="release", name=_plugin(operated, name))
        case ["upstreams", name, "drain"]:
            return Change(id=new, what="drain", name=name, endpoint=_endpoint(operated, name, said.endpoint))
        case ["upstreams", name, "ready"]:
            return Change(id=new, what="ready", name=name, endpoint=_endpoint(operated, name, said.endpoint))
    raise _refused(404, "there is nothing to change here; docs/admin.md lists what there is")


def _word(word: bytes) -> str:
    try:
        return unquote_to_bytes(word).decode()
    except UnicodeDecodeError:
        raise _refused(400, "the path is not UTF-8") from None


def _level(level: str) -> str:
    if level not in (*LEVELS, CONFIGURED):
        raise _refused(400, f"level is not one of {', '.join((*LEVELS, CONFIGURED))}")
    return level


def _plugin(operated: Operated, name: str) -> str:
    known = sorted(pool.name for pool in operated.runtime.pools)
    if name not in known:
        raise _refused(404, f"there is no plugin {_short(name)}; there are: {', '.join(known) or 'none'}")
    return name


def _endpoint(operated: Operated, upstream: str, endpoint: str) -> str:
    cluster = operated.runtime.clusters.get(upstream)
    if cluster is None:
        known = ", ".join(sorted(operated.runtime.clusters)) or "none"
        raise _refused(404, f"there is no upstream {_short(upstream)}; there are: {known}")
    addresses = sorted(str(one.address) for one in cluster.endpoints)
    # One that has left may come back, and is told by its address until then.
    drained = [address for name, address in operated.desk.wishes.drained if name == upstream]
    if endpoint not in (*addresses, *drained):
        there = ", ".join(addresses)
        raise _refused(404, f"upstream {upstream} has no endpoint {_short(endpoint)}; it has: {there}")
    return endpoint


def _short(said: str) -> str:
    return said if len(said) <= MAX_SAID else f"{said[:MAX_SAID]}..."


def _refused(status: int, sentence: str) -> Refused:
    return Refused(json_reply(status, {"error": sentence}))
