"""One good and one bad value for every key of the model; a key without a case fails the last test."""

import hashlib
import tomllib
from pathlib import Path

import msgspec
import pytest

from blitz.config import Config, Listener, read_config
from blitz.config.source import Document

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
    "plugin_defaults.max_body": SIZE,
    "plugin_defaults.max_requests": ("1", 1, "0", "the least is 1"),
    "plugin_defaults.max_instances": ("1", 1, "0", "the least is 1"),
    "plugin_defaults.warm": COUNT,
    "plugin_defaults.grant": ('["clock"]', ["clock"], '["clocks"]', 'did you mean "clock"?'),
    "plugin_defaults.rollback": ("true", True, "1", "expected true or false"),
    "upstreams.api.endpoints": ('["http://a:1"]', ["http://a:1"], "[]", "the list is empty"),
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
    "routes.0.name": ('"main"', "main", "7", "expected a string"),
    "routes.0.host": ('"*.example.org"', "*.example.org", '"a:80"', "leave the port out"),
    "routes.0.path_prefix": ('"/a"', "/a", '"a"', 'does not begin with "/"'),
    "routes.0.plugins": ("[]", [], '["none"]', 'no plugin is named "none"'),
    "routes.0.answer.status": ("204", 204, "99", "the least is 200"),
    "routes.0.answer.body": ('"ok"', "ok", "1", "expected a string"),
}
# What else must be there so that the good case is good.
AROUND = {
    "plugins": {"name": "p", "file": __file__},
    "routes": {"upstream": "http://h"},
    "listen": {"address": ":1"},
    "certs": {"cert": "a.pem"},
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
            holder = holder.setdefault(part, [] if part in AROUND else {})
    if key.startswith("tls.acme."):
        data["listen"] = [":80", {"address": ":443", "tls": True}]
        holder |= {"domains": ["b.example"], "storage": "acme", "agree_terms": True}
    holder[last] = tomllib.loads(f"v = {toml_value}")["v"]
    if "answer" in key:
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
        while isinstance(inner, msgspec.inspect.Metadata):
            inner = inner.type
        if isinstance(inner, msgspec.inspect.UnionType):
            structs = [member for member in inner.types if isinstance(member, msgspec.inspect.StructType)]
            inner = structs[0] if structs else inner
        path = f"{prefix}{field.name}"
        if path == "listen":  # an element is an address, or a table that holds one
            yield path, field
            yield from leaves(msgspec.inspect.type_info(Listener), "listen.0.")
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


ALL_KEYS = dict(leaves(msgspec.inspect.type_info(Config)))


def test_every_key_has_its_cases():
    assert set(CASES) == set(ALL_KEYS)


@pytest.mark.parametrize("key", ALL_KEYS)
def test_every_key_is_described_and_has_a_default(key):
    field = ALL_KEYS[key]
    assert isinstance(field.type, msgspec.inspect.Metadata)
    assert len(field.type.extra_json_schema["description"]) > 5
    assert field.required == (key in ("upstreams.api.endpoints", "listen.0.address", "tls.certs.0.cert"))
