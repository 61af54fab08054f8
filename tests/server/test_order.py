"""The order of a request (docs/routes.md): what a running gateway answers first, which ``explain`` says, too.

A route that refuses a request at every step is asked; then its first step is taken away, and the next one has
to answer.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from blitz.config import Cors, RateLimit, Route, resolve
from blitz.config.route_keys import HeaderEdits, Redirect, Rewrite
from blitz.explain import explain

from ..builtin.issuer import token
from ..cli.commands import ROOT
from .harness import rig
from .test_jwt import bearer
from .test_own_filters import guest, idp
from .test_plugins import REQUEST

APP = "https://app.example"
REFUSES = f"{REQUEST} (call $set_status (i32.const 418)) (i32.const 1))"
WHOLE = Route(
    name="whole",
    upstream="main",
    path_prefix="/a",
    ip_deny=["127.0.0.0/8"],
    cors=Cors(origins=[APP]),
    redirect=Redirect(path="/elsewhere"),
    auth="idp",
    rate_limit=RateLimit(rate="1/m", key="client"),
    rewrite=Rewrite(path="/b${path.rest}"),
    request_headers=HeaderEdits(set={"x-path": "${request.target}"}),
)
# (key of the step that answers, its status, what of the route is taken away to come to the next one)
STEPS = [
    ("ip_deny", 403, {"ip_deny": []}),
    ("cors", 204, {"cors": None}),
    ("redirect", 308, {"redirect": None}),
    ("auth", 401, {"auth": ""}),
    ("rate_limit", 429, {"rate_limit": None}),
    ("plugins", 418, {"plugins": []}),
    ("upstream", 200, {}),
]
# What explain cannot know: it says that the step is there.
UNKNOWN = {401, 429, 418, 200}


@pytest.mark.parametrize("parser", ["auto", "h11"])
async def test_what_answers_first(tmp_path: Path, parser: str) -> None:
    # The 429 is that of a route whose only token a first request has taken.
    route = WHOLE
    fields = ["origin: " + APP, "access-control-request-method: GET"]
    head = "\r\n".join(["OPTIONS /a/x HTTP/1.1", "Host: h", *fields, "", ""]).encode()
    for key, status, less in STEPS:
        config = {"auth": idp(tmp_path), "plugins": [guest(tmp_path, REFUSES)], "before_routing": []}
        async with rig(parser=parser, routes=[route], **config) as test:
            client = await test.connect()
            if key == "rate_limit":
                await client.send(head)
                await client.answer()
            await client.send(head)
            assert (await client.answer())[0] == status, key
            found = explain(resolve(test.config, {}), "OPTIONS", "http://h/a/x", fields)
        said = [step.key for step in found.steps]
        if status in UNKNOWN:
            assert (key in said, found.status) == (True, 0)
            assert said[0] == key or key == "upstream"
        else:
            assert (said[-1], found.status) == (key, status)
        route = msgspec.structs.replace(route, **less)


async def test_plugins_see_what_came_and_upstreams_what_the_route_makes_of_it(tmp_path: Path) -> None:
    route = msgspec.structs.replace(WHOLE, ip_deny=[], redirect=None, cors=None, rate_limit=None)
    passes = f"{REQUEST} (i32.const 0))"
    async with rig(
        routes=[route], auth=idp(tmp_path), plugins=[guest(tmp_path, passes)], before_routing=[]
    ) as test:
        status, _, _ = await test.get("/a/x", authorization=bearer(token()))
        assert status == 200
        found = explain(resolve(test.config, {}), "GET", "http://h/a/x")
    assert [step.key for step in found.steps] == [
        "auth", "plugins", "rewrite", "request_headers", "upstream",
    ]  # fmt: skip
    assert found.steps[2].says == "the upstream gets /b/x"


def test_the_picture_has_the_steps_in_this_order() -> None:
    page = (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")
    box = page[page.index("a route is chosen") : page.index("response hooks")]
    places = [re.search(rf"\b{key}\b", box).start() for key, _, _ in STEPS]  # type: ignore[union-attr]
    assert places == sorted(places)
