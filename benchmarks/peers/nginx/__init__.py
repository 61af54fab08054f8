"""nginx: plain, with Lua (libnginx-mod-http-lua) and with njs (libnginx-mod-http-js)."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import Peer, Setup, argv, missing_module
from ...harness.places import debian_libraries, find_module
from ...harness.site import lay_site
from .conf import LUA_MODULES, PROXY, RUN, conf, lua_http
from .shapes import LUA_SHAPES, SHAPES

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
# As people tune it: descriptors are kept, and looked at again after a second, as Blitz does.
_FILES = "sendfile on; tcp_nopush on; open_file_cache max=1024; open_file_cache_valid 1s;"
_NJS_MODULES = ["ngx_http_js_module.so"]
_NJS_HTTP = "js_import one from @folder@/one_header.js;"


def _lua(count: int) -> Setup:
    calls = " ".join(f"plugins[{n}].rewrite()" for n in range(1, count + 1))
    files: dict[str, str | Path] = {
        "nginx.conf": conf(
            f"rewrite_by_lua_block {{ {calls} }} {PROXY}", lua_http("one_header"), LUA_MODULES
        ),
        "one_header.lua": _HERE / "one_header.lua",
    }
    return Setup(RUN, files)


def _faults() -> Setup:
    """Every wait ends after 2 s; requests to /down go to a port where nobody listens."""
    waits = "client_header_timeout client_body_timeout send_timeout proxy_read_timeout proxy_send_timeout"
    http = " ".join(f"{wait} 2s;" for wait in waits.split()) + " proxy_max_temp_file_size 0;"
    text = conf(PROXY, http)
    down = f"location /down {{ {PROXY.replace('http://origin', 'http://127.0.0.1:1')} }}"
    return Setup(RUN, {"nginx.conf": text.replace("location / {", f"{down}\n        location / {{")})


def _isolation() -> Setup:
    """Requests to /loop meet a plugin that never returns."""
    plain = _lua(1)
    text = plain.files["nginx.conf"]
    assert isinstance(text, str)
    loop = f"location /loop {{ rewrite_by_lua_block {{ while true do end }} {PROXY} }}"
    return Setup(
        RUN, {**plain.files, "nginx.conf": text.replace("location / {", f"{loop}\n        location / {{")}
    )


def _njs(count: int) -> Setup:
    variables = "".join(f" js_set $seen_{n} one.seen_{n};" for n in range(1, count + 1))
    headers = "".join(f" proxy_set_header x-seen-{n} $seen_{n};" for n in range(1, count + 1))
    files: dict[str, str | Path] = {
        "nginx.conf": conf(PROXY + headers, _NJS_HTTP + variables, _NJS_MODULES),
        "one_header.js": _HERE / "one_header.js",
    }
    return Setup(RUN, files)


def _needs(modules: list[str]) -> str | None:
    return next((missing_module(m, find_module(m)) for m in modules if not find_module(m)), None)


PEERS = [
    Peer(
        name="nginx",
        program="nginx",
        version=argv("@program@ -v"),
        jobs={
            "fixed": Setup(RUN, {"nginx.conf": conf(f'return 200 "{"o" * 128}";')}),
            "proxy": Setup(RUN, {"nginx.conf": conf(PROXY)}),
            "static": Setup(RUN, {"nginx.conf": conf("root @folder@/www;", _FILES)}, lay_site),
            "faults": _faults(),
            **SHAPES,
        },
        cannot={"plugin": "plain nginx loads no plugin code; see + lua, + njs"},
    ),
    Peer(
        name="nginx + lua",
        program="nginx",
        version=argv("@program@ -v"),
        jobs={"plugin": _lua(1), "chain3": _lua(3), "isolation": _isolation(), **LUA_SHAPES},
        language="Lua (LuaJIT, in process, unsandboxed)",
        env=debian_libraries(),
        needs=lambda: _needs(LUA_MODULES),
    ),
    Peer(
        name="nginx + njs",
        program="nginx",
        version=argv("@program@ -v"),
        jobs={"plugin": _njs(1), "chain3": _njs(3)},
        language="JavaScript (njs, in process)",
        env=debian_libraries(),
        needs=lambda: _needs(_NJS_MODULES),
    ),
]
