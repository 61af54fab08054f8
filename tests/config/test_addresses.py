"""Addresses, endpoints and networks: what is read, and the sentence for what is not."""

from __future__ import annotations

import pytest

from blitz.config import (
    Certificate,
    Config,
    Endpoint,
    Listener,
    Route,
    Tls,
    Upstream,
    UpstreamTls,
    parse_endpoint,
    read_config,
    resolve,
)
from blitz.config.addresses import parse_network
from blitz.config.source import Document
from blitz.errors import ConfigError

ENDPOINTS = [
    ("http://h", Endpoint("http", "h", 80), "http://h:80", "h"),
    ("https://h", Endpoint("https", "h", 443), "https://h:443", "h"),
    ("HTTPS://[::1]:8443/", Endpoint("https", "::1", 8443), "https://[::1]:8443", "[::1]:8443"),
    ("https://h:80", Endpoint("https", "h", 80), "https://h:80", "h:80"),
    ("unix:/run/a.sock", Endpoint("unix", "", 0, "/run/a.sock"), "unix:/run/a.sock", None),
    ("unix:///run/a.sock", Endpoint("unix", "", 0, "/run/a.sock"), "unix:/run/a.sock", None),
]


@pytest.mark.parametrize(("text", "endpoint", "shown", "authority"), ENDPOINTS)
def test_endpoints(text: str, endpoint: Endpoint, shown: str, authority: str | None) -> None:
    read = parse_endpoint(text)
    assert read == endpoint
    assert str(read) == shown
    assert authority is None or read.authority == authority


BAD_ENDPOINTS = [
    ("ftp://h", 'the scheme "ftp", which is not served'),
    ("https://", "has no host"),
    ("https://h:0", "no port from 1"),
    ("unix:run/a.sock", "no absolute path"),
    ("unix:", "no absolute path"),
    ("unix:/" + "a" * 107, "a path of 108 bytes"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD_ENDPOINTS)
def test_what_is_no_endpoint(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_endpoint(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("FD00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert parse_network(text) == network


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10.1.0.0/8", 'write "10.0.0.0/8"'),
        ("10.0.0.0/33", "not an address or network"),
        ("lb.example.org", "not an address or network"),
        ("", "not an address or network"),
    ],
)
def test_what_is_no_network(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_network(text)


ROUTES = [Route(upstream="http://h")]


def test_listeners_may_be_addresses_or_tables() -> None:
    config = Config(
        listen=[":80", Listener(address="[::1]:443", tls=True), {"address": ":81", "proxy_protocol": True}],
        tls=Tls(certs=[Certificate(cert="a.pem")]),
        trusted_proxies=["10.0.0.0/8"],
        routes=ROUTES,
    )
    listen = resolve(config, {}).listen
    assert [(str(address), address.tls, address.proxy_protocol) for address in listen] == [
        (":80", False, False),
        ("[::1]:443", True, False),
        (":81", False, True),
    ]


def test_tables_of_listeners_in_a_file(tmp_path) -> None:
    file = tmp_path / "blitz.toml"
    file.write_text(
        """
[[listen]]
address = ":8443"
tls = true

[[listen]]
address = ":1"
adress = ":1"

[tls]
certs = [{ cert = "a.pem", key = "a.key" }]

[[routes]]
upstream = "unix:/run/app.sock"
"""
    )
    loaded = read_config(file, {})
    lines = [(problem.line, problem.key) for problem in loaded.problems]
    assert lines == [(8, "listen[1].adress")]
    assert "did you mean `address`?" in loaded.problems[0].message
    assert loaded.config.tls.certs[0].cert == str(tmp_path / "a.pem")
    assert loaded.resolved.upstreams["unix:/run/app.sock"].endpoints[0].path == "/run/app.sock"


MISTAKES = [
    ({"listen": [":1", Listener(address=":1")]}, "listed twice"),
    ({"listen": [3]}, "expected a string, got 3"),
    (
        {"tls": {"client_auth": "require", "client_ca": "x"}, "listen": [{"address": ":1", "tls": True}]},
        "a certif",
    ),
    (
        {"upstreams": {"a": Upstream(endpoints=["http://h"], tls=UpstreamTls(ca="a"))}},
        "no endpoint is spoken to",
    ),
    (
        {"upstreams": {"a": Upstream(endpoints=["https://h"], tls=UpstreamTls(ca="a", verify=False))}},
        "leave one out",
    ),
]


@pytest.mark.parametrize(("keys", "sentence"), MISTAKES)
def test_mistakes(keys: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Config(**{"routes": ROUTES, **keys}), {})
    assert len(caught.value.problems) == 1
    assert sentence in caught.value.problems[0].message


def test_what_is_allowed_and_dangerous_is_warned_about() -> None:
    data = {
        "trusted_proxies": ["0.0.0.0/0"],
        "upstreams": {"a": {"endpoints": ["https://h"], "tls": {"verify": False}}},
        "routes": [{"upstream": "a"}],
    }
    loaded = read_config(None, {}, start=Document(data=data))
    assert not loaded.problems
    assert len(loaded.resolved.warnings) == 2
