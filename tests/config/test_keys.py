"""One good and one bad value for every key of the model; a key without a case fails the last test."""

import hashlib
import tomllib
from pathlib import Path

import msgspec
import pytest

from blitz.config import Config, Listener, read_config
from blitz.config.route_keys import Wanted
from blitz.config.source import Document
from blitz.config.upstream_keys import WeightedEndpoint

DIGEST = hashlib.sha256(Path(__file__).read_bytes()).hexdigest().upper()

# key path -> (good TOML value, what it becomes, bad TOML value, part of the sentence)
LEVELS = ('"debug"', "debug", '"loud"', 'expected one of "debug"')
SECONDS = ('"250ms"', 0.25, '"5 parsecs"', "us, ms, s, m, h")
SIZE = ('"128KiB"', 131072, '"5s"', "KiB, MiB, GiB")
COUNT = ("12", 12, '"many"', "expected a whole number")

CASES = {
    "listen": ('[":80"]', [":80"], '["x"]', "is not an address"),
    "listen.0.address": ('":80"', ":80", '"x"', "is not an address"),
    "listen.0.tls": ("false", False, "true", "needs a certificate"),
    "listen.0.proxy_protocol": ("false", False, "true", "name them in `trusted_proxies`"),
    "listen.0.name": ('"http"', "http", '"a b"', "is not a name"),
    "include": ("[]", [], '"a.toml"', "expected a list"),
    "workers": ('"auto"', "auto", "0", "the least is 1"),
    "plugin_dir": ('""', "", "1", "expected a string, got 1"),
    "before_routing": ("[]", [], '["nobody"]', 'no plugin is named "nobody"'),
    "trusted_proxies": ('["10.0.0.0/8"]', ["10.0.0.0/8"], '["10.0.0.1/8"]', 'write "10.0.0.0/8"'),
    "trusted_field": ('"forwarded"', "forwarded", '"via"', "expected one of"),
    "tls.certs.0.cert": ('"a.pem"', "a.pem", '""', "name a PEM file"),
    "tls.certs.0.key": ('"a.key"', "a.key", "1", "expected a string"),
    "tls.client_auth": ('"none"', "none", '"require"', "needs `client_ca`"),
    "tls.client_ca": ('""', "", '"ca.pem"', "nobody is asked"),
    "tls.acme.domains": ('["a.example"]', ["a.example"], '["*.a.example"]', "wildcard"),
    "tls.acme.directory": (
        '"https://ca.example/d"',
        "https://ca.example/d",
        '"ca.example"',
        "no https:// URL",
    ),
    "tls.acme.email": ('"ops@a.example"', "ops@a.example", "1", "expected a string"),
    "tls.acme.agree_terms": ("true", True, "false", "read the authority's terms"),
    "tls.acme.challenge": ('"tls-alpn-01"', "tls-alpn-01", '"dns-01"', "expected one of"),
    "tls.acme.storage": ('"acme"', "acme", '""', "is missing"),
    "tls.acme.ca": ('"ca.pem"', "ca.pem", "1", "expected a string"),
    "tls.acme.eab_kid": ('""', "", '"kid"', "needs `eab_key`"),
    "tls.acme.eab_key": ('""', "", '"key"', "needs `eab_kid`"),
    "tls.min_version": ('"1.3"', "1.3", '"1.1"', "expected one of"),
    **{
        f"timeouts.{name}": SECONDS
        for name in (
            *("head", "handshake", "body_idle", "body_grace", "keepalive", "connect", "first_byte"),
            *(
                "response_idle",
                "total",
                "chain",
                "collect",
                "send_idle",
                "tunnel_idle",
                "tunnel_silence",
                "drain",
                "drain_delay",
                "worker",
            ),
        )
    },
    "cache_dir": ('"/var/cache/blitz"', "/var/cache/blitz", "1", "expected a string, got 1"),
    "watch": ("true", True, '"yes"', "expected true or false"),
    "admin.listen": ('"127.0.0.1:9900"', "127.0.0.1:9900", '":9900"', "there is no token"),
    "admin.token": ('"0123456789abcdef"', "0123456789abcdef", '"short"', "shorter than 16"),
    "limits.max_head_size": ('"128KiB"', 131072, "1", "the least is 256"),
    "limits.max_line_size": ('"1KiB"', 1024, '"1GiB"', "could never be reached"),
    "limits.max_field_size": ('"1KiB"', 1024, '"1GiB"', "could never be reached"),
    "limits.max_fields": ("256", 256, "257", "the most is 256"),
    "limits.max_chunk_line_size": SIZE,
    "limits.max_trailer_size": SIZE,
    "limits.max_interim_responses": ("0", 0, "-1", "expected 0 or more"),
    "limits.max_body_size": SIZE,
    "limits.min_body_rate": SIZE,
    "limits.max_connections": COUNT,
    "limits.max_connections_per_address": COUNT,
    "http.parser": ('"h11"', "h11", '"h12"', 'did you mean "h11"?'),
    "http.upgrades": ('["websocket", "irc/6.9"]', ["websocket", "irc/6.9"], '["h2c"]', "is HTTP itself"),
    "http.forwarded": ('"both"', "both", '"none"', "expected one of"),
    "http.request_id_header": ('"x-request-id"', "x-request-id", '"Host"', "means something else"),
    "log.level": LEVELS,
    "log.format": ('"json"', "json", '"xml"', "expected one of"),
    "log.plugins": ('"off"', "off", '"none"', "expected one of"),
    "log.access": ('"json"', "json", "true", "got true"),
    "plugin_defaults.memory": ('"2MiB"', 2 << 20, '"1KiB"', "the least is 64KiB"),
    "plugin_defaults.timeout": ('"50ms"', 0.05, "0", "expected more than 0s"),
    "plugin_defaults.wait_timeout": ('"50ms"', 0.05, "0", "expected more than 0s"),
    "plugin_defaults.max_body": SIZE,
    "plugin_defaults.max_requests": ("1", 1, "0", "the least is 1"),
    "plugin_defaults.max_instances": ("1", 1, "0", "the least is 1"),
    "plugin_defaults.warm": COUNT,
    "plugin_defaults.grant": ('["clock"]', ["clock"], '["clocks"]', 'did you mean "clock"?'),
    "plugin_defaults.rollback": ("true", True, "1", "expected true or false"),
    "auth.api.any": ('["other"]', ["other"], '["nobody"]', 'no [auth] is named "nobody"'),
    "auth.api.all": ('["other"]', ["other"], '["api"]', "leads back to itself"),
    "auth.api.jwt.jwks_url": ('"https://i/k?a=b"', "https://i/k?a=b", '"i/keys"', "is not a URL"),
    "auth.api.jwt.jwks_file": ('"k.json"', "k.json", "1", "expected a string"),
    "auth.api.jwt.upstream": ('""', "", '"api"', "nobody is asked"),
    "auth.api.jwt.issuer": ('"https://i"', "https://i", "1", "expected a string"),
    "auth.api.jwt.audiences": ('["a"]', ["a"], '"a"', "expected a list"),
    "auth.api.jwt.algorithms": ('["ES256"]', ["ES256"], '["none"]', 'expected one of "'),
    "auth.api.jwt.leeway": ('"5s"', 5.0, '"2h"', "the most is 1h"),
    "auth.api.jwt.required_claims": ('{ a = ["b", 1] }', {"a": ["b", 1]}, "{ a = {} }", "a list of these"),
    "auth.api.jwt.from": ('"cookie:s"', "cookie:s", '"body"', "is no place"),
    "auth.api.jwt.identity": ('"email"', "email", '""', "no claim is named"),
    "auth.api.jwt.headers": (
        '{ x-user = "sub" }',
        {"x-user": "sub"},
        '{ Host = "sub" }',
        "means something else",
    ),
    "auth.api.jwt.remove_credentials": ("true", True, "1", "expected true or false"),
    "auth.api.jwt.refresh": ('"5m"', 300.0, '"1ms"', "too small"),
    "auth.api.jwt.min_refresh": ('"5s"', 5.0, "0", "too small"),
    "auth.api.jwt.max_stale": ('"5m"', 300.0, "0", "too small"),
    "auth.api.jwt.timeout": ('"1s"', 1.0, '"5m"', "too large"),
    "auth.api.basic.users_file": ('"users"', "users", '""', "name a file"),
    "auth.api.basic.realm": ('"our house"', "our house", "'a\"b'", "has a quote"),
    "auth.api.basic.cache": SECONDS,
    "auth.api.basic.header": ('"x-user"', "x-user", '"cookie"', "means something else"),
    "auth.api.basic.remove_credentials": ("false", False, "1", "expected true or false"),
    "auth.api.forward.url": ('"http://a/check"', "http://a/check", '"http://a@b/"', "no user and password"),
    "auth.api.forward.upstream": ('"api"', "api", '"nobody"', 'no upstream is named "nobody"'),
    "auth.api.forward.request_headers": ('["Cookie"]', ["Cookie"], '["a b"]', "is not the name of a field"),
    "auth.api.forward.response_headers": (
        '["x-user"]',
        ["x-user"],
        '["Host"]',
        "is not for a service to say",
    ),
    "auth.api.forward.identity": ('"x-user"', "x-user", '"a b"', "is not the name of a field"),
    "auth.api.forward.timeout": ('"1s"', 1.0, "0", "too small"),
    "auth.api.forward.max_body": ('"1KiB"', 1024, '"1GiB"', "too large"),
    "routes.0.auth": ('""', "", '"nobody"', 'no [auth] is named "nobody"'),
    "routes.0.cors.origins": ('["https://*.a.org"]', ["https://*.a.org"], '["null"]', "anybody can have"),
    "routes.0.cors.methods": ('["PUT"]', ["PUT"], '["*"]', "does not mean all"),
    "routes.0.cors.headers": ('["x-a"]', ["x-a"], '["x a"]', "is not the name of a field"),
    "routes.0.cors.expose": ('["x-a"]', ["x-a"], '["*"]', "does not mean all"),
    "routes.0.cors.credentials": ("true", True, '"yes"', "expected true or false"),
    "routes.0.cors.max_age": ('"1h"', 3600.0, '"48h"', "too large"),
    "routes.0.rate_limit.rate": ('"10 req/s"', "10 req/s", '"100/x"', "is not a rate"),
    "routes.0.rate_limit.key": ('"header:x-key"', "header:x-key", '"identity"', "write `auth` too"),
    "routes.0.rate_limit.burst": ("5", 5, "-1", "expected 0 or more"),
    "routes.0.rate_limit.store": ('"local"', "local", '"redis"', "expected"),
    "routes.0.compress": ('["br", "gzip"]', ["br", "gzip"], '["lzma"]', "expected one of"),
    "routes.0.compress.encodings": ('["gzip"]', ["gzip"], '["gzip", "gzip"]', "is there already"),
    "routes.0.compress.types": ('["a/b", "a/*", "+c"]', ["a/b", "a/*", "+c"], '["json"]', "is no media type"),
    "routes.0.compress.min_size": SIZE,
    "routes.0.compress.gzip_level": ("6", 6, "9", "the most is 6"),
    "routes.0.compress.zstd_level": ("4", 4, "0", "the least is 1"),
    "routes.0.compress.br_level": ("1", 1, '"fast"', "expected a whole number"),
    "upstreams.api.endpoints": ('["http://a:1"]', ["http://a:1"], "[]", "the list is empty"),
    "upstreams.api.endpoints.0.url": ('"http://a:1"', "http://a:1", '"a"', "has no scheme"),
    "upstreams.api.endpoints.0.weight": ("3", 3, "0", "the least is 1"),
    "upstreams.api.lb": ('"least_conn"', "least_conn", '"leastconn"', 'did you mean "least_conn"?'),
    "upstreams.api.hash.on": ('"header:x-user"', "header:x-user", '"moon"', "is nothing to hash"),
    "upstreams.api.sticky.cookie": ('"srv"', "srv", '"a b"', "is not the name of a cookie"),
    "upstreams.api.sticky.secret": ('"0123456789abcdef"', "0123456789abcdef", '"short"', "shorter than 16"),
    "upstreams.api.health.uri": ('"/up?x=1"', "/up?x=1", '"up"', "is no path"),
    "upstreams.api.health.interval": ('"10s"', 10.0, '"1ms"', "is too small"),
    "upstreams.api.health.timeout": ('"2s"', 2.0, "0", "expected more than 0s"),
    "upstreams.api.health.status": ('"200-399"', "200-399", '"6xx"', "is no status"),
    "upstreams.api.health.rise": ("1", 1, "0", "the least is 1"),
    "upstreams.api.health.fall": ("1", 1, "0", "the least is 1"),
    "upstreams.api.outlier.max_fails": ("3", 3, "0", "the least is 1"),
    "upstreams.api.outlier.fail_duration": ('"30s"', 30.0, "0", "expected more than 0s"),
    "upstreams.api.outlier.status": ('["5xx", "429"]', ["5xx", "429"], '["bad"]', "is no status"),
    "upstreams.api.outlier.max_ejected": ('"50%"', "50%", '"half"', "is no percentage"),
    "upstreams.api.outlier.slow_start": SECONDS,
    "upstreams.api.resolve_interval": SECONDS,
    "upstreams.api.max_pending": COUNT,
    "upstreams.api.max_connections": ("1", 1, "0", "the least is 1"),
    "upstreams.api.max_idle": COUNT,
    "upstreams.api.idle_timeout": SECONDS,
    "upstreams.api.max_age": SECONDS,
    "upstreams.api.host": ('"a:8"', "a:8", '"a b"', "not a host"),
    "upstreams.api.reuse": ('"client"', "client", '"never"', 'expected true or false or "client"'),
    "upstreams.api.proxy_protocol": ('"v2"', "v2", '"v1"', "expected one of"),
    "upstreams.api.tls.ca": ('"ca.pem"', "ca.pem", "1", "expected a string"),
    "upstreams.api.tls.server_name": ('"::1"', "::1", '".a"', "has no valid host name"),
    "upstreams.api.tls.verify": ("false", False, '"no"', "expected true or false"),
    "upstreams.api.tls.cert": ('"a.pem"', "a.pem", "1", "expected a string"),
    "upstreams.api.tls.key": ('""', "", '"a.key"', "write `cert` too"),
    "plugins.0.name": ('"my-plugin"', "my-plugin", '"a/b"', "is not a plugin name"),
    "plugins.0.file": ('""', "", '"nowhere.wasm"', "no such file"),
    "plugins.0.enabled": ("false", False, '"false"', "expected true or false"),
    "plugins.0.type": ('"observability"', "observability", '"auth"', "expected one of"),
    "plugins.0.order": ("-1", -1, "1.5", "expected a whole number"),
    "plugins.0.memory": SIZE,
    "plugins.0.timeout": SECONDS,
    "plugins.0.wait_timeout": SECONDS,
    "plugins.0.upstreams": ("[]", [], '["nobody"]', 'no upstream is named "nobody"'),
    "plugins.0.max_body": SIZE,
    "plugins.0.max_requests": COUNT,
    "plugins.0.max_instances": COUNT,
    "plugins.0.warm": COUNT,
    "plugin_defaults.deny": ('["clock"]', ["clock"], '["clocks"]', 'did you mean "clock"?'),
    "plugins.0.deny": ("[]", [], '"clock"', "expected a list"),
    "plugins.0.grant": ("[]", [], '"clock"', "expected a list"),
    "plugins.0.reroute": ("true", True, '"late"', "expected true or false"),
    "plugins.0.namespace": ('"team"', "team", '"a b"', "is not a name"),
    "plugins.0.rollback": ("true", True, "1", "expected true or false"),
    "plugins.0.response_body": ('"none"', "none", '"some"', "expected one of"),
    "plugins.0.instances": ('"single"', "single", '"many"', "expected one of"),
    "plugins.0.failure": ('"open"', "open", '"ajar"', "expected one of"),
    "plugins.0.config": ("{ a = [1] }", {"a": [1]}, "5", "expected a table or a string"),
    "plugins.0.env": ('["A"]', ["A"], '["A-B"]', "not the name of an environment variable"),
    "plugins.0.sha256": (f'"{DIGEST}"', DIGEST, '"abc"', "64 hex digits"),
    "routes.0.upstream": ('"http://h"', "http://h", '"nobody"', 'no upstream is named "nobody"'),
    "routes.0.upstreams.0.name": ('"http://h"', "http://h", '"nobody"', 'no upstream is named "nobody"'),
    "routes.0.upstreams.0.weight": ("5", 5.0, "-1", "is too small"),
    "routes.0.retry.attempts": ("2", 2, "0", "the least is 1"),
    "routes.0.retry.on": (
        '["connect", "5xx"]',
        ["connect", "5xx"],
        '["always"]',
        "is nothing to try again on",
    ),
    "routes.0.retry.per_try": SECONDS,
    "routes.0.retry.budget": ('"0%"', "0%", '"200%"', "is no percentage"),
    "routes.0.mirror.upstream": ('"http://h"', "http://h", '"nobody"', 'no upstream is named "nobody"'),
    "routes.0.mirror.percent": ("10", 10.0, "0", "expected more than 0"),
    "routes.0.name": ('"main"', "main", "7", "expected a string"),
    "routes.0.host": ('"*.example.org"', "*.example.org", '"a:80"', "leave the port out"),
    "routes.0.path_prefix": ('"/a"', "/a", '"a"', 'does not begin with "/"'),
    "routes.0.hosts": ('["a.org", "*.b.org"]', ["a.org", "*.b.org"], '["a.org:80"]', "leave the port out"),
    "routes.0.path": ('"/a"', "/a", '"a"', 'does not begin with "/"'),
    "routes.0.path_regex": ('"^/a"', "^/a", '"^/(a"', "not a pattern of RE2: missing )"),
    "routes.0.methods": ('["GET"]', ["GET"], '["get"]', 'write "GET"'),
    "routes.0.headers": ('{ x-a = "1" }', {"x-a": "1"}, '{ x_a = "1" }', "not the name of a header field"),
    "routes.0.headers.a.regex": ('"^1"', "^1", '"("', "not a pattern of RE2"),
    "routes.0.headers.a.present": ("true", True, "1", "expected true or false"),
    "routes.0.query": ('{ a = "1" }', {"a": "1"}, '{ a = { regex = "1", present = true } }', "one of them"),
    "routes.0.query.a.regex": ('"^1"', "^1", '"("', "not a pattern of RE2"),
    "routes.0.query.a.present": ("false", False, '"no"', "expected true or false"),
    "routes.0.listen": ('""', "", '"http"', 'no listener is named "http"'),
    "routes.0.priority": ("5", 5, '"high"', "expected a whole number"),
    "routes.0.plugins": ("[]", [], '["none"]', 'no plugin is named "none"'),
    "routes.0.answer.headers": (
        '{ a = "1" }',
        {"a": "1"},
        '{ connection = "close" }',
        "between two neighbours",
    ),
    "routes.0.answer.file": (f'"{__file__}"', __file__, '"/nowhere"', "no such file"),
    "routes.0.ip_allow": ('["10.0.0.0/8"]', ["10.0.0.0/8"], '["10.0.0.1/8"]', 'write "10.0.0.0/8"'),
    "routes.0.ip_deny": ('["::1"]', ["::1"], '["localhost"]', "is not an address or network"),
    "routes.0.redirect.scheme": ('"https"', "https", '"ftp"', "expected one of"),
    "routes.0.redirect.host": ('"a.org"', "a.org", '"a.org:80"', "leave the port out"),
    "routes.0.redirect.port": ("8443", 8443, "70000", "the most is 65535"),
    "routes.0.redirect.path": (
        '"/n${path.rest}"',
        "/n${path.rest}",
        '"/${client.port}"',
        "cannot be part of a path",
    ),
    "routes.0.redirect.status": ("301", 301, "200", "200 is no redirect"),
    "routes.0.rewrite.strip_prefix": ("true", True, "1", "expected true or false"),
    "routes.0.rewrite.replace_prefix": ('"/v2"', "/v2", '"v2"', 'does not begin with "/"'),
    "routes.0.rewrite.path": ('"/a"', "/a", '"/a?b"', "the query stays as it came"),
    "routes.0.rewrite.regex": ('"^/(a)"', "^/(a)", '"^/(a"', "not a pattern of RE2: missing )"),
    "routes.0.rewrite.to": ('"/$1"', "/$1", '"/$2"', "`$2` is not there: the pattern has one group"),
    "routes.0.static.root": ('"/tmp"', "/tmp", '"/nowhere"', "no such file or directory"),
    "routes.0.static.index": ('["a.html"]', ["a.html"], '["a/b"]', "is no name of a file"),
    "routes.0.static.fallback": ('"/a.html"', "/a.html", '"a.html"', 'write "/a.html"'),
    "routes.0.static.listing": ("true", True, "1", "expected true or false"),
    "routes.0.static.precompressed": ('["br"]', ["br"], '["deflate"]', "expected one of"),
    "routes.0.static.max_age": ('"1h"', 3600.0, '"5 parsecs"', "us, ms, s, m, h"),
    "routes.0.request_headers.set": (
        *('{ x-a = "${client.address}" }', {"x-a": "${client.address}"}),
        *('{ x-a = "${client.adress}" }', "did you mean `client.address`?"),
    ),
    "routes.0.request_headers.add": (
        '{ x-a = "1" }',
        {"x-a": "1"},
        '{ Host = "a" }',
        "the upstream's own key `host`",
    ),
    "routes.0.request_headers.remove": (
        '["cookie"]',
        ["cookie"],
        '["content-length"]',
        "where the message ends",
    ),
    "routes.0.response_headers.set": (
        '{ x-a = "$${" }',
        {"x-a": "$${"},
        '{ x-a = "a\\nb" }',
        "no line break",
    ),
    "routes.0.response_headers.add": (
        '{ x-a = "1" }',
        {"x-a": "1"},
        '{ "a b" = "1" }',
        "not the name of a header",
    ),
    "routes.0.response_headers.remove": ('["server"]', ["server"], '["te"]', "between two neighbours"),
    "routes.0.timeouts.first_byte": SECONDS,
    "routes.0.timeouts.total": SECONDS,
    "routes.0.max_body_size": SIZE,
    "routes.0.answer.status": ("204", 204, "99", "the least is 200"),
    "routes.0.answer.body": ('"ok"', "ok", "1", "expected a string"),
}
# What else must be there so that the good case is good.
AROUND = {
    "plugins": {"name": "p", "file": __file__},
    "routes": {"upstream": "http://h"},
    "listen": {"address": ":1"},
    "certs": {"cert": "a.pem"},
    "endpoints": {"url": "http://a:1"},
    "upstreams": {"name": "http://h"},
}
# What else a table needs that the key is in.
BESIDE = {
    "sticky": {"cookie": "srv"},
    "mirror": {"upstream": "http://h"},
    "jwt": {"jwks_file": "keys.json"},
    "basic": {"users_file": "users"},
    "forward": {"url": "http://a/"},
    "cors": {"origins": ["https://a.org"]},
    "rate_limit": {"rate": "10/s"},
    "compress": {"encodings": ["gzip"]},
    "static": {"root": "/tmp"},
}


def document(key, toml_value):
    scheme = "https" if ".tls." in key else "http"
    data = {"routes": [{"upstream": "http://h"}], "upstreams": {"api": {"endpoints": [f"{scheme}://a:1"]}}}
    *parents, last = key.split(".")
    holder = data
    for index, part in enumerate(parents):
        if part == "0":
            holder[0:1] = [dict(AROUND[parents[index - 1]])]
            holder = holder[0]
        else:
            of_list = parents[index + 1 : index + 2] == ["0"]
            holder = holder.setdefault(part, [] if of_list else dict(BESIDE.get(part, {})))
    if key.startswith("auth"):
        data["auth"]["other"] = {"basic": {"users_file": "users"}}
    if last == "jwks_url":
        del holder["jwks_file"]
    if key.startswith("tls.acme."):
        data["listen"] = [":80", {"address": ":443", "tls": True}]
        holder |= {"domains": ["b.example"], "storage": "acme", "agree_terms": True}
    if ".hash." in key:
        data["upstreams"]["api"]["lb"] = "hash"
    if "routes.0.upstreams" in key:
        del data["routes"][0]["upstream"]
    holder[last] = tomllib.loads(f"v = {toml_value}")["v"]
    if key == "routes.0.redirect.status":
        holder["path"] = "/new"
    if ".rewrite." in key:
        holder["path"] = holder.get("path", "")
        data["routes"][0]["path_prefix"] = "/api"
    if last in ("regex", "to") and ".rewrite." in key:
        del holder["path"]
        holder |= {"regex": "/(b)", "to": "/c"} | {last: holder[last]}
    if "answer" in key or "static" in key:
        del data["routes"][0]["upstream"]
    if key == "plugins.0.file" and not holder[last]:
        data["plugins"][0]["enabled"] = False
    return Document(data=data)


def value_of(config, key):
    value = msgspec.to_builtins(config)
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.parametrize("key", CASES)
def test_a_good_value_arrives(key):
    good, expected, _, _ = CASES[key]
    loaded = read_config(None, {}, start=document(key, good))
    assert [str(problem) for problem in loaded.problems] == []
    assert value_of(loaded.config, key) == expected


@pytest.mark.parametrize("key", CASES)
def test_a_bad_value_is_one_problem_at_its_key(key):
    _, _, bad, sentence = CASES[key]
    problems = read_config(None, {}, start=document(key, bad)).problems
    assert len(problems) == 1, problems
    assert problems[0].key.startswith(key.replace(".0", "[0]"))
    assert sentence in problems[0].message


def leaves(described, prefix=""):
    for field in described.fields:
        inner = field.type
        name = field.encode_name
        while isinstance(inner, msgspec.inspect.Metadata):
            inner = inner.type
        if isinstance(inner, msgspec.inspect.UnionType):
            structs = [member for member in inner.types if isinstance(member, msgspec.inspect.StructType)]
            inner = structs[0] if structs else inner
        path = f"{prefix}{name}"
        if path == "listen":  # an element is an address, or a table that holds one
            yield path, field
            yield from leaves(msgspec.inspect.type_info(Listener), "listen.0.")
        elif path in ("routes.0.headers", "routes.0.query"):  # a value is text, or a table
            yield path, field
            yield from leaves(msgspec.inspect.type_info(Wanted), f"{path}.a.")
        elif path == "routes.0.compress":  # a list, or a table that holds one
            yield path, field
            yield from leaves(inner, f"{path}.")
        elif path == "upstreams.api.endpoints":
            yield path, field
            yield from leaves(msgspec.inspect.type_info(WeightedEndpoint), f"{path}.0.")
        elif isinstance(inner, msgspec.inspect.ListType) and isinstance(
            inner.item_type, msgspec.inspect.StructType
        ):
            yield from leaves(inner.item_type, f"{path}.0.")
        elif isinstance(inner, msgspec.inspect.DictType) and isinstance(
            inner.value_type, msgspec.inspect.StructType
        ):
            yield from leaves(inner.value_type, f"{path}.api.")
        elif isinstance(inner, msgspec.inspect.StructType):
            yield from leaves(inner, f"{path}.")
        else:
            yield path, field


REQUIRED = (
    *(
        "listen.0.address",
        "routes.0.static.root",
        "tls.certs.0.cert",
        "upstreams.api.endpoints",
        "upstreams.api.endpoints.0.url",
    ),
    *("upstreams.api.sticky.cookie", "routes.0.upstreams.0.name", "routes.0.mirror.upstream"),
    "routes.0.static.root",
    *("auth.api.basic.users_file", "auth.api.forward.url"),
    *("routes.0.cors.origins", "routes.0.rate_limit.rate", "routes.0.compress.encodings"),
)
ALL_KEYS = dict(leaves(msgspec.inspect.type_info(Config)))


def test_every_key_has_its_cases():
    assert set(CASES) == set(ALL_KEYS)


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_key_is_described_and_has_a_default(key):
    field = ALL_KEYS[key]
    assert isinstance(field.type, msgspec.inspect.Metadata)
    assert len(field.type.extra_json_schema["description"]) > 5
    assert field.required == (key in REQUIRED)
