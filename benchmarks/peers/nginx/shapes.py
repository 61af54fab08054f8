"""nginx for the shapes of traffic: the same things switched on, with Lua where a plugin does the work."""

from __future__ import annotations

from pathlib import Path

from ...harness.certificate import lay_certificate
from ...harness.check import ELSEWHERE, NETWORKS
from ...harness.peer import Setup
from .conf import LUA_MODULES, PROXY, RUN, conf, lua_http

__all__ = ["LUA_SHAPES", "SHAPES"]

_HERE = Path(__file__).parent

_JSON_LOG = r"""log_format json escape=json '{"time":"$time_iso8601","client":"$remote_addr",'
        '"method":"$request_method","target":"$request_uri","protocol":"$server_protocol","host":"$host",'
        '"scheme":"$scheme","user_agent":"$http_user_agent","referrer":"$http_referer","status":$status,'
        '"sent":$body_bytes_sent,"upstream":"$upstream_addr","duration":$request_time,"id":"$request_id"}';
    access_log @folder@/access.log json;"""

_TLS = """ssl_certificate @folder@/tls.pem; ssl_certificate_key @folder@/tls.pem;
        ssl_session_cache shared:one:16m; ssl_protocols TLSv1.2 TLSv1.3;"""


def _plain(location: str = "", http: str = "") -> Setup:
    return Setup(RUN, {"nginx.conf": conf(f"{location} {PROXY}", http)})


def _lua(location: str, more: str = "") -> Setup:
    files: dict[str, str | Path] = {
        "nginx.conf": conf(f"{location} {PROXY}", lua_http("shapes", more), LUA_MODULES),
        "shapes.lua": _HERE / "shapes.lua",
    }
    return Setup(RUN, files)


def _noticed(setup: Setup) -> Setup:
    """With the lines that Lua writes in the error log, where nginx puts them."""
    text = setup.files["nginx.conf"]
    assert isinstance(text, str)
    return Setup(RUN, {**setup.files, "nginx.conf": text.replace("error.log crit", "error.log notice")})


def _endpoints() -> Setup:
    one = "server 127.0.0.1:@origin@;"
    return Setup(RUN, {"nginx.conf": conf(PROXY).replace(one, f"{one} server 127.0.0.2:@origin@;")})


def _least_conn() -> Setup:
    one = "server 127.0.0.1:@origin@;"
    servers = " ".join(one.replace("127.0.0.1", f"127.0.0.{number}") for number in range(1, 5))
    return Setup(RUN, {"nginx.conf": conf(PROXY).replace(one, f"least_conn; {servers}")})


def _tls() -> Setup:
    text = conf(PROXY, _TLS)
    return Setup(RUN, {"nginx.conf": text.replace("backlog=4096;", "backlog=4096 ssl;")}, lay_certificate)


SHAPES = {
    # Debian's nginx logs to the file that its configuration names; everything else here logs nothing.
    "json-log": Setup(RUN, {"nginx.conf": conf(PROXY, _JSON_LOG).replace("access_log off;", "")}),
    "request-id": _plain("proxy_set_header X-Request-Id $request_id;"),
    "total": _plain(),
    "endpoints": _endpoints(),
    "least-conn": _least_conn(),
    "redirect": Setup(RUN, {"nginx.conf": conf(f"return 308 {ELSEWHERE}$request_uri;")}),
    "header-edits": _plain(
        """proxy_set_header X-Client $remote_addr; proxy_set_header X-Path $uri; proxy_set_header X-Drop "";
            add_header X-Gateway bench; proxy_hide_header Server;"""
    ),
    "ip-allow": _plain(" ".join(f"allow {network};" for network in NETWORKS) + " deny all;"),
    "trusted": _plain(
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For; real_ip_recursive on;",
    ),
    "gzip": _plain(
        "gzip on; gzip_types application/json; gzip_comp_level 1; gzip_min_length 1024; gzip_vary on;"
    ),
    "tls": _tls(),
}

LUA_SHAPES = {
    "response-header": _lua("header_filter_by_lua_block { plugins.response_header() }"),
    "body": _lua("access_by_lua_block { plugins.body() }"),
    "built-in": _noticed(
        _lua(
            """access_by_lua_block { plugins.access() } header_filter_by_lua_block { plugins.header() }
            log_by_lua_block { plugins.log() }""",
            "lua_shared_dict limits 1m;",
        )
    ),
}
