"""Every case of the HTTP suite is the same over every driver: bytes on both wires, lines, counters."""

from __future__ import annotations

import pytest

from tests.http_suite.case import Case
from tests.http_suite.cases import ALL

from .compare import compare
from .settings import PLAIN, TIMED, Setting

BY_PROFILE = {"plain": PLAIN, "timed": TIMED}
EVERY = 12  # one in so many cases in the default suite
FEW = 3  # the same where the drivers differ in little but where the bytes come from
PAIRS = [("fast", "general"), ("fast-tls", "general-tls"), ("general", "stream")]
WITH_PLUGINS = Setting(plugins=("both", "reads", "response"), http=(("request_id_header", "X-Request-Id"),))


# How much of a chunked response is looked at before its head goes on is one read: 64 KiB on the fast path, 16
# on the general one. What is malformed within that is a 502, behind it a response that is cut.
BY_READ = {"answer/bound_ext_in_sum", "answer/bound_trailer_100k", "answer/bound_trailers_5000"}


def check(cases: list[Case], setting: Setting, drivers: tuple[str, str]) -> None:
    differences = compare([case for case in cases if case.id not in BY_READ], setting, drivers)
    assert not differences, "\n".join(map(str, differences))


def test_a_part_of_the_suite() -> None:
    check([case for case in ALL if case.profile == "plain"][::EVERY], PLAIN, ("fast", "general"))


@pytest.mark.slow
@pytest.mark.parametrize("drivers", PAIRS, ids="-".join)
@pytest.mark.parametrize("profile", BY_PROFILE)
def test_the_whole_suite(profile: str, drivers: tuple[str, str]) -> None:
    every = 1 if drivers == PAIRS[0] else FEW
    check([case for case in ALL if case.profile == profile][::every], BY_PROFILE[profile], drivers)


@pytest.mark.slow
@pytest.mark.parametrize("drivers", [("fast", "general"), ("fast-tls", "general-tls")], ids="-".join)
def test_with_plugins_and_ids(drivers: tuple[str, str]) -> None:
    check([case for case in ALL if case.profile == "plain"][::FEW], WITH_PLUGINS, drivers)
