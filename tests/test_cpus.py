"""`workers = "auto"` takes as many CPUs as the process may use, not as many as the machine has."""

import os

import pytest

from blitz.cpus import usable_cpus


@pytest.fixture
def machine(tmp_path):
    """machine(/proc/self/cgroup, {file under /sys/fs/cgroup: text}) -> a root that has them."""

    def make(groups, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))


def test_without_control_groups_the_affinity_counts(tmp_path):
    assert usable_cpus(tmp_path) == 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 64),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("9900000 100000", 64),
        ("0 100000", 64),
        ("100000 0", 64),
        ("100000", 64),
        ("what is this", 64),
        ("", 64),
        ("\xff", 64),
    ],
)
def test_version_2(machine, text, expected):
    assert usable_cpus(machine("0::/\n", {"cpu.max": text})) == expected


def test_the_least_of_all_groups_above_counts(machine):
    files = {"a/b/cpu.max": "400000 100000", "a/cpu.max": "300000 100000", "cpu.max": "max 100000"}
    assert usable_cpus(machine("0::/a/b\n", files)) == 3


def test_a_group_that_is_told_from_the_machine_is_looked_for_where_the_container_has_it(machine):
    assert usable_cpus(machine("0::/docker/0123\n", {"cpu.max": "200000 100000"})) == 2


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1(machine, mount):
    files = {f"{mount}/x/cpu.cfs_quota_us": "500000\n", f"{mount}/x/cpu.cfs_period_us": "250000\n"}
    files |= {f"{mount}/cpu.cfs_quota_us": "-1\n", f"{mount}/cpu.cfs_period_us": "100000\n"}
    assert usable_cpus(machine("12:cpu,cpuacct:/x\n3:memory:/x\n", files)) == 2


def test_a_path_that_goes_up_is_not_followed(machine):
    assert usable_cpus(machine("0::/../..\n", {"cpu.max": "100000 100000"})) == 64
