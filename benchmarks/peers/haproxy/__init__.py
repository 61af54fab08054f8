"""HAProxy: plain, and with Lua actions."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import Peer, Setup, argv
from ...harness.places import debian_libraries

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_CONF = (_HERE / "haproxy.cfg").read_text()
_RUN = argv("@program@ -db -f @folder@/haproxy.cfg")


def _setup(rules: list[str], lua: bool = False) -> Setup:
    load = "lua-load @folder@/one_header.lua" if lua else ""
    files: dict[str, str | Path] = {
        "haproxy.cfg": _CONF.replace("@global@", load).replace("@rules@", "\n    ".join(rules))
    }
    if lua:
        files["one_header.lua"] = _HERE / "one_header.lua"
    return Setup(_RUN, files)


def _lua(count: int) -> Setup:
    return _setup(
        [f"http-request lua.one_header_{n}" for n in range(1, count + 1)] + ["default_backend origin"],
        lua=True,
    )


def _faults() -> Setup:
    """Every wait ends after 2 s; requests to /down go to a port where nobody listens."""
    setup = _setup(["use_backend down if { path_beg /down }", "default_backend origin"])
    conf = setup.files["haproxy.cfg"]
    assert isinstance(conf, str)
    for wait in ("client 300s", "server 60s"):
        conf = conf.replace(f"timeout {wait}", f"timeout {wait.split()[0]} 2s")
    conf = conf.replace("timeout connect 5s", "timeout connect 5s\n    timeout http-request 2s")
    return Setup(_RUN, {"haproxy.cfg": f"{conf}\nbackend down\n    server nobody 127.0.0.1:1\n"})


def _isolation() -> Setup:
    """Requests to /loop meet an action that never returns; HAProxy's own limit for one is 4 s."""
    rules = [
        "http-request lua.spin if { path_beg /loop }",
        "http-request lua.one_header_1",
        "default_backend origin",
    ]
    return _setup(rules, lua=True)


PEERS = [
    Peer(
        name="haproxy",
        program="haproxy",
        version=argv("@program@ -v"),
        jobs={
            "fixed": _setup([f'http-request return status 200 content-type text/plain string "{"o" * 128}"']),
            "proxy": _setup(["default_backend origin"]),
            "faults": _faults(),
        },
        env=debian_libraries(),
        cannot={"plugin": "plain haproxy loads no plugin code; see + lua"},
    ),
    Peer(
        name="haproxy + lua",
        program="haproxy",
        version=argv("@program@ -v"),
        jobs={"plugin": _lua(1), "chain3": _lua(3), "isolation": _isolation()},
        language="Lua (in process)",
        env=debian_libraries(),
    ),
]
