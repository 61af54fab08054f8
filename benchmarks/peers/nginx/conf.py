"""nginx's configuration as a template, and what every nginx here has in common."""

from __future__ import annotations

from pathlib import Path

from ...harness.peer import argv
from ...harness.places import CACHE, find_module

__all__ = ["LUA_MODULES", "PROXY", "RUN", "conf", "lua_http"]

_CONF = (Path(__file__).parent / "nginx.conf").read_text()
RUN = argv("@program@ -p @folder@ -c @folder@/nginx.conf")

# Request bodies go through as they come: a gateway that spools them to disk does another job.
PROXY = """proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_request_buffering off;"""

LUA_MODULES = ["ndk_http_module.so", "ngx_http_lua_module.so"]
_LUA_PATH = f"@folder@/?.lua;{CACHE}/debian/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?.lua;;"


def conf(location: str, http: str = "", modules: list[str] | None = None) -> str:
    """The configuration with the body of its location, more of its http block, and modules to load."""
    load = "".join(f"load_module {find_module(name)};\n" for name in modules or [])
    return _CONF.replace("@modules@", load).replace("@http@", http).replace("@location@", location)


def lua_http(module: str, more: str = "") -> str:
    """For the http block: ``plugins`` is the Lua module of that name in the scratch folder."""
    return f"""lua_package_path "{_LUA_PATH}"; {more}
    init_by_lua_block {{ plugins = require "{module}" }}"""
