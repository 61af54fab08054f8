"""nginx: plain, with Lua (libnginx-mod-http-lua) and with njs (libnginx-mod-http-js)."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import Peer, Setup, argv, missing_module
from ...harness.places import CACHE, debian_libraries, find_module

__all__ = ["PEERS"]

_HERE = Path(__file__).parent
_CONF = (_HERE / "nginx.conf").read_text()
_RUN = argv("@program@ -p @folder@ -c @folder@/nginx.conf")

# Request bodies go through as they come: a gateway that spools them to disk does another job.
_PROXY = """proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_request_buffering off;"""

_LUA_MODULES = ["ndk_http_module.so", "ngx_http_lua_module.so"]
_LUA_PATH = f"@folder@/?.lua;{CACHE}/debian/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?.lua;;"
_LUA_HTTP = f"""lua_package_path "{_LUA_PATH}";
    init_by_lua_block {{ plugins = require "one_header" }}"""
_NJS_MODULES = ["ngx_http_js_module.so"]
_NJS_HTTP = "js_import one from @folder@/one_header.js;"


def _conf(location: str, http: str = "", modules: list[str] | None = None) -> str:
    load = "".join(f"load_module {find_module(name)};\n" for name in modules or [])
    return _CONF.replace("@modules@", load).replace("@http@", http).replace("@location@", location)


def _lua(count: int) -> Setup:
    calls = " ".join(f"plugins[{n}].rewrite()" for n in range(1, count + 1))
    files: dict[str, str | Path] = {
        "nginx.conf": _conf(f"rewrite_by_lua_block {{ {calls} }} {_PROXY}", _LUA_HTTP, _LUA_MODULES),
        "one_header.lua": _HERE / "one_header.lua",
    }
    return Setup(_RUN, files)


def _faults() -> Setup:
    """Every wait ends after 2 s; requests to /down go to a port where nobody listens."""
    waits = "client_header_timeout client_body_timeout send_timeout proxy_read_timeout proxy_send_timeout"
    http = " ".join(f"{wait} 2s;" for wait in waits.split()) + " proxy_max_temp_file_size 0;"
    conf = _conf(_PROXY, http)
    down = f"location /down {{ {_PROXY.replace('http://origin', 'http://127.0.0.1:1')} }}"
    return Setup(_RUN, {"nginx.conf": conf.replace("location / {", f"{down}\n        location / {{")})


def _isolation() -> Setup:
    """Requests to /loop meet a plugin that never returns."""
    plain = _lua(1)
    conf = plain.files["nginx.conf"]
    assert isinstance(conf, str)
    loop = f"location /loop {{ rewrite_by_lua_block {{ while true do end }} {_PROXY} }}"
    return Setup(
        _RUN, {**plain.files, "nginx.conf": conf.replace("location / {", f"{loop}\n        location / {{")}
    )


def _njs(count: int) -> Setup:
    variables = "".join(f" js_set $seen_{n} one.seen_{n};" for n in range(1, count + 1))
    headers = "".join(f" proxy_set_header x-seen-{n} $seen_{n};" for n in range(1, count + 1))
    files: dict[str, str | Path] = {
        "nginx.conf": _conf(_PROXY + headers, _NJS_HTTP + variables, _NJS_MODULES),
        "one_header.js": _HERE / "one_header.js",
    }
    return Setup(_RUN, files)


def _needs(modules: list[str]) -> str | None:
    return next((missing_module(m, find_module(m)) for m in modules if not find_module(m)), None)


PEERS = [
    Peer(
        name="nginx",
        program="nginx",
        version=argv("@program@ -v"),
        jobs={
            "fixed": Setup(_RUN, {"nginx.conf": _conf(f'return 200 "{"o" * 128}";')}),
            "proxy": Setup(_RUN, {"nginx.conf": _conf(_PROXY)}),
            "faults": _faults(),
        },
        cannot={"plugin": "plain nginx loads no plugin code; see + lua, + njs"},
    ),
    Peer(
        name="nginx + lua",
        program="nginx",
        version=argv("@program@ -v"),
        jobs={"plugin": _lua(1), "chain3": _lua(3), "isolation": _isolation()},
        language="Lua (LuaJIT, in process, unsandboxed)",
        env=debian_libraries(),
        needs=lambda: _needs(_LUA_MODULES),
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
