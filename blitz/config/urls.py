"""URLs of services that filters ask: an endpoint, and what is asked of it."""

from __future__ import annotations

import re
from typing import NamedTuple

from blitz.config.addresses import parse_endpoint

__all__ = ["ServiceUrl", "parse_url"]

_TARGET = re.compile(r"/[!$&'()*+,;=:@/?A-Za-z0-9._~%-]*", re.ASCII)


class ServiceUrl(NamedTuple):
    """endpoint: as an upstream has it, ``"http://auth:9091"``; authority: for the Host field; target: path
    and query."""

    endpoint: str
    authority: str
    target: str


def parse_url(text: str) -> ServiceUrl:
    """Read ``http://host[:port]/path`` or https. Raises ValueError with one sentence."""
    match = re.fullmatch(r"(https?)://([^/?#]*)(.*)", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        raise ValueError(f'"{text}" is not a URL; write such as "https://idp.example.org/keys"')
    scheme, authority, target = match[1].lower(), match[2], match[3] or "/"
    if target.startswith("?"):
        target = f"/{target}"
    if not _TARGET.fullmatch(target):
        raise ValueError(f'the path "{target}" has a character that no URL has there; percent-encode it')
    endpoint = f"{scheme}://{authority}"
    parse_endpoint(endpoint)
    return ServiceUrl(endpoint, authority.lower(), target)
