"""Which plugins there are, what each may use, and the chains made of them."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blitz.config import Admin, Config, Plugin, PluginDefaults, Route, read_config, resolve
from blitz.config.flatten import flatten, merge
from blitz.errors import ConfigError

WASM = b"\0asm\1\0\0\0"
MANIFEST = 'schema = 1\n[plugin]\nversion = "1.2.0"\ntype = "authentication"\n'


@pytest.fixture
def plugins(tmp_path):
    """Write plugins/NAME.wasm, with manifests; return the directory."""
    directory = tmp_path / "plugins"
    directory.mkdir()

    def write(**manifests):
        for name, manifest in manifests.items():
            (directory / f"{name}.wasm").write_bytes(WASM)
            if manifest is not None:
                (directory / f"{name}.toml").write_text(manifest)
        return directory

    return write


def config(directory="", *entries, routes=None, **rest):
    return Config(
        plugin_dir=str(directory),
        plugins=list(entries),
        routes=routes or [Route(upstream="http://127.0.0.1:9000")],
        **rest,
    )


def messages(wanted, environ=None):
    with pytest.raises(ConfigError) as caught:
        resolve(wanted, environ or {})
    return [str(problem) for problem in caught.value.problems]


def only(message_list):
    (message,) = message_list
    return message


# ---------------------------------------------------------------- discovery


def test_every_wasm_file_is_a_plugin_with_its_manifest(plugins):
    directory = plugins(a=MANIFEST, b=None)
    (directory / ".half.wasm").write_bytes(b"")
    (directory / "notes.txt").write_bytes(b"")
    (directory / "dir.wasm").mkdir()
    resolved = resolve(config(directory), {})
    assert [(p.name, p.type, p.version) for p in resolved.plugins] == [
        ("b", None, ""),
        ("a", "authentication", "1.2.0"),
    ]
    assert resolved.plugins[0].file == str(directory / "b.wasm")
    assert resolved.plugins[1].manifest == str(directory / "a.toml")
    assert (resolved.plugins[0].memory, resolved.plugins[0].timeout) == (16 << 20, 1.0)
    assert only(resolved.warnings).startswith(f"{directory}/b.wasm has no manifest")


def test_a_shared_manifest_belongs_to_the_only_module(plugins):
    directory = plugins(a=None)
    (directory / "blitz-plugin.toml").write_text(MANIFEST.replace("[plugin]", '[plugin]\nname = "n"'))
    assert [p.name for p in resolve(config(directory), {}).plugins] == ["n"]
    (directory / "b.wasm").write_bytes(WASM)
    assert [p.name for p in resolve(config(directory), {}).plugins] == ["a", "b"]


def test_a_missing_directory_is_one_sentence(tmp_path):
    found = messages(config(tmp_path / "no", routes=[Route(upstream="http://h", plugins=["x"])]))
    assert found == [
        f"plugin_dir: {tmp_path}/no does not exist; "
        "create it, or name the directory that holds your .wasm files"
    ]


def test_a_file_in_place_of_the_directory_is_one_sentence(tmp_path):
    (tmp_path / "f").touch()
    assert "is not a directory" in only(messages(config(tmp_path / "f")))


def test_an_empty_directory_is_a_warning(plugins):
    assert only(resolve(config(plugins()), {}).warnings).endswith("holds no .wasm file")


def test_an_unreadable_file_is_one_sentence(tmp_path):
    wanted = config("", Plugin(name="p", file=str(tmp_path / "p.wasm")))
    assert only(messages(wanted)) == f"plugins[0].file: {tmp_path}/p.wasm: no such file; check the path"
    (tmp_path / "p.wasm").mkdir()
    assert only(messages(wanted)).endswith("p.wasm: is a directory, wanted a regular file; check the path")


def test_an_entry_without_file_is_about_a_discovered_plugin(plugins):
    directory = plugins(a=MANIFEST, b=MANIFEST)
    resolved = resolve(config(directory, Plugin(name="a", timeout=0.5, failure="open")), {})
    a, b = resolved.plugins
    assert (a.name, a.timeout, a.failure, a.type) == ("a", 0.5, "open", "authentication")
    assert (b.timeout, b.failure) == (1.0, "closed")


def test_an_entry_with_a_file_replaces_the_discovered_one_of_its_name(plugins, tmp_path):
    (tmp_path / "other.wasm").write_bytes(WASM)
    resolved = resolve(config(plugins(a=MANIFEST), Plugin(name="a", file=str(tmp_path / "other.wasm"))), {})
    assert [(p.name, p.file) for p in resolved.plugins] == [("a", str(tmp_path / "other.wasm"))]


def test_a_file_may_serve_two_entries_and_is_not_discovered_again(plugins):
    directory = plugins(a=MANIFEST)
    file = str(directory / "a.wasm")
    resolved = resolve(config(directory, Plugin(name="x", file=file), Plugin(name="y", file=file)), {})
    assert [p.name for p in resolved.plugins] == ["x", "y"]


def test_a_name_comes_from_the_manifest_else_the_file(plugins):
    directory = plugins(a=MANIFEST.replace("[plugin]", '[plugin]\nname = "n"'), b=None)
    entries = [Plugin(file=str(directory / f"{name}.wasm")) for name in "ab"]
    assert {p.name for p in resolve(config("", *entries), {}).plugins} == {"n", "b"}


def test_a_disabled_plugin_is_left_out(plugins):
    directory = plugins(a=MANIFEST, b="nonsense")
    wanted = config(directory, Plugin(name="b", enabled=False))
    assert [p.name for p in resolve(wanted, {}).plugins] == ["a"]
    wanted = config(
        directory, Plugin(name="b", enabled=False), routes=[Route(upstream="http://h", plugins=["a", "b"])]
    )
    assert only(messages(wanted)).startswith('routes[0].plugins[1]: "b" is switched off')


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([Plugin(name="c")], "holds none of that name; known here: a"),
        ([Plugin(name="aa")], "holds none of that name; did you mean `a`?"),
        ([Plugin()], "has neither `name` nor `file`"),
        ([Plugin(name="a"), Plugin(name="a")], '"a" is also the name of plugins[0]'),
    ],
)
def test_an_entry_that_fits_nothing_is_named(plugins, entries, sentence):
    assert sentence in only(messages(config(plugins(a=MANIFEST), *entries)))


def test_an_entry_without_file_and_directory_says_what_it_needs():
    assert "needs `file`, the path of its .wasm" in only(messages(config("", Plugin(name="a"))))


def test_two_files_of_one_name_are_a_problem(plugins):
    named = MANIFEST.replace("[plugin]", '[plugin]\nname = "n"')
    found = only(messages(config(plugins(a=named, b=named))))
    assert 'is named "n", as is the one in' in found


def test_an_entry_is_never_about_one_of_two(plugins):
    """What the entry grants goes to no file that only says it is the plugin."""
    named = MANIFEST.replace("[plugin]", '[plugin]\nname = "a"')
    directory = plugins(a=MANIFEST, z=named)
    found = only(messages(config(directory, Plugin(name="a", env=["KEY"]))))
    assert f'"a" has no `file`, and {directory}/a.wasm and {directory}/z.wasm both go by' in found
    resolved = resolve(config(directory, Plugin(name="a", enabled=False)), {})
    assert resolved.plugins == ()


def test_a_file_name_that_is_no_plugin_name_is_a_problem(plugins):
    assert '"a b" is not a plugin name' in only(messages(config(plugins(**{"a b": None}))))


def test_a_pinned_digest_is_compared(plugins):
    file = str(plugins(a=None) / "a.wasm")
    digest = hashlib.sha256(WASM).hexdigest()
    resolved = resolve(config("", Plugin(name="a", file=file, sha256=digest.upper())), {})
    assert resolved.plugins[0].sha256 == digest
    found = only(messages(config("", Plugin(name="a", file=file, sha256="0" * 64))))
    assert found.startswith("plugins[0].sha256:") and digest in found


# ---------------------------------------------------------------- manifests


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("schema = 2", "a.toml:1: schema: this Blitz reads manifests of schema 1, this one is 2"),
        ("[plugin]", "a.toml: schema: `schema` is missing: version of this format: 1"),
        ("schema = 1\n[plugin]\nnaem = 'x'", "a.toml:3: plugin.naem: unknown key; did you mean `name`?"),
        ("schema = 1\n[limits]\nmemory = '1TB'", 'a.toml:3: limits.memory: "1TB" has the unit "TB"'),
        ("schema = 1\n[limits]\ntimeout = 0", "a.toml:3: limits.timeout: expected more than 0s"),
        ("schema = 1\n[plugin]\ntype = 'auth'", "a.toml:3: plugin.type: expected one of"),
        ("schema = 1\n[plugin]\nabi = 'proxy-wasm'", "a.toml:3: plugin.abi: expected"),
        ("x", "a.toml:1: not TOML"),
    ],
)
def test_a_wrong_manifest_says_where(plugins, manifest, sentence):
    assert sentence in only(messages(config(plugins(a=manifest))))


def test_only_the_operator_lets_a_plugin_lead_to_other_routes(plugins):
    directory = plugins(a=MANIFEST)
    assert not resolve(config(directory), {}).plugins[0].reroute
    assert resolve(config(directory, Plugin(name="a", reroute=True)), {}).plugins[0].reroute
    for at in ("", "[plugin]\n", "[capabilities]\n"):
        manifest = f"schema = 1\n{at}reroute = true\n"
        assert "reroute" in only(messages(config(plugins(a=manifest))))


def test_nothing_in_a_manifest_is_expanded(plugins):
    manifest = MANIFEST + '[config.defaults]\nk = "${HOME}"\n'
    (plugin,) = resolve(config(plugins(a=manifest)), {"HOME": "/root"}).plugins
    assert plugin.config_values == {"k": "${HOME}"}


def test_a_manifest_may_ask_for_less_and_not_for_more(plugins):
    manifest = MANIFEST + '[limits]\nmemory = "64MiB"\ntimeout = "10ms"\nmax_body = "2MiB"\n'
    resolved = resolve(config(plugins(a=manifest)), {})
    (plugin,) = resolved.plugins
    assert (plugin.memory, plugin.timeout, plugin.max_body) == (16 << 20, 0.01, 1 << 20)
    assert resolved.warnings == (
        "plugin a: its manifest asks for memory 64MiB and gets 16MiB; "
        'to give it more, write memory = "64MiB" in its [[plugins]] entry',
        "plugin a: its manifest asks for max_body 2MiB and gets 1MiB; "
        'to give it more, write max_body = "2MiB" in its [[plugins]] entry',
    )


def test_the_entry_wins_over_the_manifest(plugins):
    manifest = (
        MANIFEST + '[limits]\nmemory = "1MiB"\ninstances = "single"\nmax_requests = 5\n'
        '[hooks]\nresponse_body = "none"\n[failure]\npolicy = "open"\n'
    )
    directory = plugins(a=manifest)
    (plugin,) = resolve(config(directory), {}).plugins
    assert (plugin.memory, plugin.instances, plugin.max_requests) == (1 << 20, "single", 5)
    assert (plugin.response_body, plugin.failure) == ("none", "open")
    entry = Plugin(
        name="a",
        memory=64 << 20,
        instances="pooled",
        max_requests=7,
        response_body="full",
        failure="closed",
        type="observability",
    )
    (plugin,) = resolve(config(directory, entry), {}).plugins
    assert (plugin.memory, plugin.instances, plugin.max_requests) == (64 << 20, "pooled", 7)
    assert (plugin.response_body, plugin.failure, plugin.type) == ("full", "closed", "observability")


# ---------------------------------------------------------------- grants

ASKS = MANIFEST + '[capabilities]\nenv = ["KEY"]\nenv_optional = ["MORE"]\n'


def test_what_is_asked_and_not_granted_is_a_problem_that_says_what_to_write(plugins):
    directory = plugins(a=ASKS)
    assert only(messages(config(directory), {"KEY": "s"})) == (
        f"{directory}/a.toml:6: capabilities.env[0]: plugin a asks for the environment variable KEY, "
        'which is not granted; to grant it, write env = ["KEY"] in its [[plugins]] entry (name = "a")'
    )


def test_an_upstream_that_is_asked_for_must_be_granted(plugins):
    directory = plugins(a=MANIFEST + '[capabilities]\nupstreams = ["id"]\n')
    assert only(messages(config(directory))) == (
        f"{directory}/a.toml:6: capabilities.upstreams[0]: plugin a asks for the upstream id, "
        'which is not granted; to grant it, write upstreams = ["id"] in its [[plugins]] entry (name = "a")'
    )


def test_no_upstream_is_granted_unless_the_operator_does(plugins):
    (plugin,) = resolve(config(plugins(a=MANIFEST)), {}).plugins
    assert plugin.upstreams == ()


def test_a_grant_gives_the_value_and_nothing_else(plugins):
    entry = Plugin(name="a", env=["KEY"])
    (plugin,) = resolve(config(plugins(a=ASKS), entry), {"KEY": "s", "MORE": "m", "HOME": "h"}).plugins
    assert plugin.env == {"KEY": "s"}


def test_an_optional_variable_may_be_granted_and_unset(plugins):
    entry = Plugin(name="a", env=["KEY", "MORE"])
    (plugin,) = resolve(config(plugins(a=ASKS), entry), {"KEY": "s"}).plugins
    assert plugin.env == {"KEY": "s"}


def test_a_needed_variable_must_be_set(plugins):
    found = messages(config(plugins(a=ASKS), Plugin(name="a", env=["KEY"])), {})
    assert only(found).startswith(
        "plugins[0].env: needs the environment variable KEY, which is granted but not set"
    )


def test_a_grant_nobody_asked_for_is_a_warning(plugins):
    resolved = resolve(config(plugins(a=MANIFEST), Plugin(name="a", env=["HOME"])), {"HOME": "/"})
    assert only(resolved.warnings) == "plugin a: env grants HOME, which its manifest does not ask for"


CLOCK = MANIFEST + "[capabilities]\nclock = true\n"


@pytest.mark.parametrize("how", ["entry", "defaults", "PLUGIN_DENY"])
def test_a_capability_that_is_asked_for_and_denied_says_what_to_take_away(plugins, how):
    directory = plugins(a=CLOCK)
    entry = Plugin(name="a", deny=["clock"]) if how == "entry" else Plugin(name="a")
    defaults = PluginDefaults() if how == "entry" else PluginDefaults(deny=["clock"])
    assert only(messages(config(directory, entry, plugin_defaults=defaults))) == (
        f"{directory}/a.toml:6: capabilities.clock: plugin a asks for the clock, which is denied; "
        'to allow it, take "clock" out of deny: in its [[plugins]] entry (name = "a"), [plugin_defaults] or '
        "PLUGIN_DENY"
    )


@pytest.mark.parametrize(
    ("how", "listed", "said"),
    [
        ("nobody", '"gc"', "gc"),
        ("entry", '"fine_clock", "gc"', "fine_clock,gc"),  # what was granted stays
        ("defaults", '"fine_clock", "gc"', "fine_clock,gc"),
    ],
)
def test_a_capability_that_is_asked_and_not_granted_says_what_to_write(plugins, how, listed, said):
    more = "" if how == "nobody" else "fine_clock = true\n"
    directory = plugins(a=f"{MANIFEST}[capabilities]\ngc = true\n{more}")
    entry = Plugin(name="a", grant=["fine_clock"]) if how == "entry" else Plugin(name="a")
    defaults = PluginDefaults(grant=["fine_clock"]) if how == "defaults" else PluginDefaults()
    assert only(messages(config(directory, entry, plugin_defaults=defaults))) == (
        f"{directory}/a.toml:6: capabilities.gc: plugin a asks for the garbage collector, which is not "
        f'granted; to grant it, write grant = [{listed}] in its [[plugins]] entry (name = "a"); without a '
        f"file, say --set plugins.a.grant={said}, or set PLUGIN_GRANT={said} for all plugins"
    )


def test_collected_values_are_asked_for_and_granted_like_the_clock(plugins):
    directory = plugins(a=MANIFEST + "[capabilities]\ngc = true\n")
    assert "a.toml:6: capabilities.gc: plugin a asks for the garbage collector, which is not granted" in only(
        messages(config(directory))
    )
    (plugin,) = resolve(config(directory, Plugin(name="a", grant=["gc"])), {}).plugins
    assert (plugin.grants, plugin.asks) == (("clock", "random", "gc"), ("clock", "random", "gc"))


@pytest.mark.parametrize("name", ["a.b", "7"])
def test_a_name_that_is_no_part_of_a_key_is_granted_by_default_or_by_file(plugins, name):
    found = only(messages(config(plugins(**{name: MANIFEST + "[capabilities]\ngc = true\n"}))))
    assert f'entry (name = "{name}"); without a file, say --set plugin_defaults.grant=gc, or' in found


BOTH = ("clock", "random")


@pytest.mark.parametrize(
    ("defaults", "entry", "granted"),
    [
        ({}, {}, BOTH),
        ({}, {"grant": []}, BOTH),
        ({}, {"grant": ["gc"]}, (*BOTH, "gc")),
        ({}, {"grant": ["clock", "random"]}, BOTH),
        ({}, {"grant": ["fine_clock"]}, (*BOTH, "fine_clock")),
        ({}, {"deny": ["clock"]}, ("random",)),
        ({}, {"deny": ["random", "clock", "gc"]}, ()),
        ({"deny": ["clock"]}, {}, ("random",)),
        ({"deny": ["clock"]}, {"grant": ["gc"]}, ("random", "gc")),
        # An entry's own word, wider or narrower, is the last one.
        ({"deny": ["clock"]}, {"grant": ["clock"]}, BOTH),
        ({"deny": ["clock"]}, {"deny": []}, BOTH),
        ({"deny": ["clock"]}, {"deny": ["random"]}, ("clock",)),
        ({"grant": ["gc"]}, {"deny": ["gc"]}, BOTH),
        ({"grant": ["gc"]}, {"grant": []}, BOTH),
        ({"grant": ["fine_clock"]}, {"deny": ["clock"]}, ("random",)),
    ],
)
def test_what_is_granted_and_denied_on_both_levels(plugins, defaults, entry, granted):
    directory = plugins(a=MANIFEST, b=None)
    entries = (Plugin(name="a", **entry), Plugin(name="b", **entry))
    resolved = resolve(config(directory, *entries, plugin_defaults=PluginDefaults(**defaults)), {})
    assert [plugin.grants for plugin in resolved.plugins] == [granted, granted]
    assert {plugin.name: plugin.asks for plugin in resolved.plugins} == {"a": BOTH, "b": None}


@pytest.mark.parametrize("where", ["plugin_defaults", "plugins[0]"])
@pytest.mark.parametrize(
    ("grant", "deny", "named"),
    [
        (["clock"], ["clock"], "clock"),
        (["gc", "random"], ["random"], "random"),
        (["fine_clock"], ["clock"], "fine_clock"),
    ],
)
def test_what_is_granted_and_denied_in_one_place_is_refused(plugins, where, grant, deny, named):
    said = {"grant": grant, "deny": deny}
    entry = Plugin(name="a", **(said if where == "plugins[0]" else {}))
    defaults = PluginDefaults(**(said if where == "plugin_defaults" else {}))
    found = messages(config(plugins(a=None), entry, plugin_defaults=defaults))
    assert only(found) == f'{where}.deny[0]: grant names "{named}"; grant it or deny it'


def test_a_manifest_may_say_that_it_uses_neither(plugins):
    text = MANIFEST + "[capabilities]\nclock = false\n"
    (plugin,) = resolve(config(plugins(a=text)), {}).plugins
    assert plugin.asks == ("random",)


def test_a_granted_capability_nobody_asked_for_is_a_warning(plugins):
    resolved = resolve(config(plugins(a=CLOCK), Plugin(name="a", grant=["clock", "random", "gc"])), {})
    assert only(resolved.warnings) == "plugin a: grant names gc, which its manifest does not ask for"


def test_a_namespace_is_granted_by_its_name(plugins):
    directory = plugins(a=MANIFEST + '[capabilities]\nnamespace = "team"\n')
    assert only(messages(config(directory, Plugin(name="a", namespace="other")))) == (
        f"{directory}/a.toml:6: capabilities.namespace: plugin a asks for the shared state of team, which is "
        'not granted; to grant it, write namespace = "team" in its [[plugins]] entry (name = "a")'
    )
    (plugin,) = resolve(config(directory, Plugin(name="a", namespace="team")), {}).plugins
    assert plugin.namespace == "team"


def test_its_own_namespace_needs_no_grant(plugins):
    (plugin,) = resolve(config(plugins(a=MANIFEST + '[capabilities]\nnamespace = "a"\n')), {}).plugins
    assert plugin.namespace == ""


@pytest.mark.parametrize("key", ["version", "license", "description"])
def test_a_manifest_cannot_forge_lines(plugins, key):
    manifest = f'schema = 1\n[plugin]\n{key} = "1.0\\nforged"\n'
    found = only(messages(config(plugins(a=manifest))))
    assert f"a.toml:3: plugin.{key}: holds control or invisible characters" in found


# ---------------------------------------------------------------- a plugin's own configuration


def test_the_operators_table_is_merged_over_the_defaults(plugins):
    manifest = MANIFEST + "[config.defaults]\na = 1\nlist = [1, 2]\n[config.defaults.t]\nx = true\ny = 1.5\n"
    entry = Plugin(name="a", config={"a": 2, "t": {"x": False, "z": ["p", "q"]}, "rows": [{"k": 1}]})
    (plugin,) = resolve(config(plugins(a=manifest), entry), {}).plugins
    assert json.loads(plugin.config) == {
        "a": 2,
        "list": [1, 2],
        "t": {"x": False, "y": 1.5, "z": ["p", "q"]},
        "rows": [{"k": 1}],
    }
    assert plugin.config_values == {
        "a": "2",
        "list": "1\n2",
        "t.x": "false",
        "t.y": "1.5",
        "t.z": "p\nq",
        "rows.0.k": "1",
    }


def test_a_text_is_handed_over_as_it_is(plugins):
    manifest = MANIFEST + "[config.defaults]\na = 1\n"
    (plugin,) = resolve(config(plugins(a=manifest), Plugin(name="a", config="a: é")), {}).plugins
    assert (plugin.config, plugin.config_values) == ("a: é".encode(), {})


def test_no_configuration_is_no_bytes(plugins):
    (plugin,) = resolve(config(plugins(a=MANIFEST)), {}).plugins
    assert (plugin.config, plugin.config_values) == (b"", {})


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"a": {"b": 1}, "a.b": 2}, 'two keys have the dotted name "a.b"'),
        ({"a": ["x\ny"]}, 'an element of "a" has a line break'),
    ],
)
def test_a_table_that_cannot_be_flat_is_a_problem(plugins, table, sentence):
    found = only(messages(config(plugins(a=MANIFEST), Plugin(name="a", config=table))))
    assert found.startswith("plugins[0].config:") and sentence in found


trees = st.recursive(
    st.integers() | st.booleans() | st.text(st.characters(exclude_characters="\n"), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
)
tables = st.dictionaries(st.text("ab", min_size=1), trees, max_size=4)


@given(tables)
def test_flat_values_find_every_leaf(table):
    for key, text in flatten(table).items():
        value = table
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
        texts = [
            str(v).lower() if isinstance(v, bool) else str(v)
            for v in (value if isinstance(value, list) else [value])
        ]
        assert text == "\n".join(texts)


@given(tables, tables)
def test_merging_keeps_the_upper_table(under, over):
    merged = merge(under, over)
    assert set(merged) == set(under) | set(over)
    assert merge(merged, over) == merged
    assert merge({}, over) == over


def test_a_repr_shows_no_secret(plugins):
    entry = Plugin(name="a", config={"key": "hunter2"}, env=["KEY"])
    wanted = config(plugins(a=ASKS), entry)
    resolved = resolve(wanted, {"KEY": "hunter2"})
    assert "hunter2" not in repr(wanted) + repr(resolved)


# ---------------------------------------------------------------- chains, upstreams, routes


def test_chains_go_by_type_then_order_then_name(plugins):
    def typed(kind):
        return f'schema = 1\n[plugin]\ntype = "{kind}"\n'

    directory = plugins(
        t=typed("observability") + "order = -2\n",
        z=typed("request_preprocessing"),
        y=typed("authentication"),
        x=typed("observability"),
        w=typed("authentication"),
        v=typed("observability"),
        u=typed("request_preprocessing"),
    )
    wanted = config(
        directory,
        Plugin(name="v", order=-1),
        Plugin(name="u", order=150),
        before_routing=["z"],
        routes=[
            Route(upstream="http://h"),
            Route(upstream="http://h", path_prefix="/a", plugins=["x", "y", "u"]),
            Route(upstream="http://h", path_prefix="/b", plugins=[]),
        ],
    )
    resolved = resolve(wanted, {})
    assert [p.name for p in resolved.plugins] == ["t", "v", "z", "w", "y", "u", "x"]
    assert resolved.before_routing == ("z",)
    assert [r.plugins for r in resolved.routes] == [
        ("z", "t", "v", "w", "y", "u", "x"),
        ("z", "y", "u", "x"),
        ("z",),
    ]


EARLY = 'schema = 1\n[plugin]\ntype = "request_preprocessing"\n'
ALL, ONE = Route(upstream="http://h"), Route(upstream="http://h", path_prefix="/a", plugins=["late"])


@pytest.mark.parametrize(
    ("said", "routes", "before", "chains"),
    [
        pytest.param(None, [ALL], ("early",), [("early", "late")], id="by-type"),
        pytest.param([], [ALL, ONE], (), [("early", "late"), ("late",)], id="none"),
        pytest.param(["early"], [ALL, ONE], ("early",), [("early", "late")] * 2, id="named"),
        pytest.param(["late"], [ALL, ONE], ("late",), [("late", "early"), ("late",)], id="of-any-type"),
    ],
)
def test_what_runs_before_routing_runs_for_every_route(plugins, said, routes, before, chains):
    resolved = resolve(config(plugins(early=EARLY, late=None), before_routing=said, routes=routes), {})
    assert resolved.before_routing == before
    assert [route.plugins for route in resolved.routes] == chains


def test_a_route_cannot_leave_out_what_runs_before_routing(plugins):
    wanted = config(plugins(early=EARLY, first=EARLY, late=None), routes=[ALL, ONE])
    assert only(messages(wanted)) == (
        "routes[1].plugins: leaves out early, first: plugins of type request_preprocessing run before a "
        "route is chosen, so on every request; add what is missing, or write before_routing = [] at the "
        "top: what it does not name runs behind routing, in the routes that list it"
    )


def test_many_routes_that_leave_one_out_are_one_mistake(plugins):
    routes = [ALL, *(Route(upstream="http://h", path_prefix=f"/{n}", plugins=[]) for n in range(100))]
    message = only(messages(config(plugins(early=EARLY), routes=routes)))
    assert message.startswith("routes[1].plugins: leaves out early")
    assert message.endswith("(and 99 more routes leave out some)")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (["lat"], 'before_routing[0]: no plugin is named "lat"; did you mean `late`?'),
        (["late", "late"], 'before_routing[1]: "late" is listed twice; a chain runs it once'),
        (["off"], 'before_routing[0]: "off" is switched off by `enabled = false` in its [[plugins]] entry'),
    ],
)
def test_a_wrong_name_before_routing_is_reported(plugins, said, sentence):
    wanted = config(plugins(late=None, off=None), Plugin(name="off", enabled=False), before_routing=said)
    assert only(messages(wanted)) == sentence


def test_an_unknown_plugin_in_a_route_is_named_with_the_nearest(plugins):
    wanted = config(plugins(logger=MANIFEST), routes=[Route(upstream="http://h", plugins=["loger"])])
    assert only(messages(wanted)) == (
        'routes[0].plugins[0]: no plugin is named "loger"; did you mean `logger`?'
    )


def test_addresses_routes_and_names_come_out_ready():
    wanted = Config(
        listen=[":8080", "[::1]:0", "LOCALHOST:1"],
        routes=[
            Route(upstream="http://127.0.0.1:9000/", host="API.Example.org", path_prefix="/a/"),
            Route(upstream="http://[::1]", name="six"),
            Route(answer={"status": 204}, path_prefix="/n"),
        ],
    )
    resolved = resolve(wanted, {})
    assert [str(address) for address in resolved.listen] == [":8080", "[::1]:0", "localhost:1"]
    assert [(r.name, *r.match.hosts, r.match.path) for r in resolved.routes] == [
        ("route-0", "api.example.org", "/a"),
        ("six", "", "/"),
        ("route-2", "", "/n"),
    ]
    six = resolved.upstreams["http://[::1]"].endpoints[0]
    assert (six.host, six.port, six.authority) == ("::1", 80, "[::1]")
    assert resolved.routes[2].answer.status == 204


def test_units_and_mistakes_in_a_config_made_by_code():
    wanted = Config(timeouts={"head": "250ms"}, routes=[Route(upstream="http://h")], log={"level": "debug"})
    assert resolve(wanted, {}).timeouts.head == 0.25
    assert only(messages(Config(workers="many"))).startswith("workers: expected a whole number or")


def test_workers_auto_is_a_number():
    assert resolve(Config(workers="auto"), {}).workers >= 1


RULES = [
    ("listen = ['127.0.0.1']", "listen[0]", "is not an address"),
    ("listen = ['127.0.0.1:66000']", "listen[0]", "no port from 0 to 65535"),
    ("listen = ['::1:80']", "listen[0]", "IPv6 address without brackets"),
    ("listen = ['[::x]:80']", "listen[0]", "no IPv6 address between its brackets"),
    ("listen = ['300.1.1.1:80']", "listen[0]", "no valid IPv4 address"),
    ("listen = ['a_b!:80']", "listen[0]", "no valid host name"),
    ("[admin]\nlisten = '0.0.0.0:9900'", "admin.listen", "there is no token"),
    ("[admin]\nlisten = '[::]:9900'", "admin.listen", "there is no token"),
    ("[admin]\nlisten = 'example.org:9900'", "admin.listen", "there is no token"),
    ("[admin]\nlisten = '9900'", "admin.listen", "is not an address"),
    ("[admin]\ntoken = '0123456789 abcdef'", "admin.token", "not visible ASCII"),
    ("[admin]\nlisten = '127.0.0.1:8080'", "admin.listen", "is in `listen` too"),
    ("listen = [':80', ':80']", "listen[1]", "is listed twice"),
    ("[upstreams.a]\nendpoints = ['h:80']", "upstreams.a.endpoints[0]", "has no scheme"),
    ("[upstreams.a]\nendpoints = ['ftp://h']", "upstreams.a.endpoints[0]", 'has the scheme "ftp"'),
    ("[upstreams.a]\nendpoints = ['http://h/p']", "upstreams.a.endpoints[0]", "has a path"),
    ("[upstreams.a]\nendpoints = ['http://u:p@h']", "upstreams.a.endpoints[0]", "no user and password"),
    ("[upstreams.a]\nendpoints = ['http://:80']", "upstreams.a.endpoints[0]", "has no host"),
    ("[upstreams.a]\nendpoints = ['http://h:0']", "upstreams.a.endpoints[0]", "no port from 1"),
    ("[upstreams.'x://y']\nendpoints = ['http://h']", 'upstreams."x://y"', "must not look like an address"),
    ("[timeouts]\ntotal = 1\n[plugin_defaults]\ntimeout = 2",
     "plugin_defaults.timeout", "longer than timeouts.total"),
    ("[[routes]]\nupstream = 'http://h'\nhost = '*.*.org'\npath_prefix = '/x'",
     "routes[0].host", "only a first label"),
    ("[[routes]]\nupstream = 'http://h'\nhost = 'é.org'", "routes[0].host", "is not ASCII"),
    ("[[routes]]\nupstream = 'http://h'\nhost = 'a..b'", "routes[0].host", "is not a host name"),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a?b'", "routes[0].path_prefix", "no path has"),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a/../b'", "routes[0].path_prefix", '"." or ".."'),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a//b'", "routes[0].path_prefix", "empty segment"),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/%2e%2e'", "routes[0].path_prefix", 'encodes "."'),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a%2Fb'", "routes[0].path_prefix", 'has "%2F"'),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a;b'", "routes[0].path_prefix", 'has ";"'),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/@'\n[[routes]]\nupstream = 'http://h'\n"
     "path_prefix = '/%40'",
     "routes[1]", "matches the same requests as routes[0]"),
    ("[[routes]]\nupstream = 'x'", "routes[0].upstream", "there is no [upstreams] table"),
    ("[[routes]]\nname = 'x'", "routes[0]", "has neither `upstream` nor `answer`"),
    ("[[routes]]\nupstream = 'http://h'\nanswer = {}", "routes[0]", "has both"),
    ("[[routes]]\nanswer = { status = 204, body = 'x' }",
     "routes[0].answer.body", "204 No Content has no body"),
    ("[[routes]]\nanswer = { status = 205, body = 'x' }",
     "routes[0].answer.body", "has no body"),
    ("[[routes]]\nanswer = { status = 304, body = 'x' }",
     "routes[0].answer.body", "would not be sent"),
    ("[[routes]]\nanswer = { status = 103, body = 'x' }",
     "routes[0].answer.status", "the least is 200"),
    ("[[routes]]\nupstream = 'http://h'\nplugins = ['a', 'a']\n[[plugins]]\nname = 'a'\nenabled = false",
     "routes[0].plugins[1]", "is listed twice"),
    ("[[routes]]\nupstream = 'http://h'\npath_prefix = '/a'\n[[routes]]\nupstream = 'http://h'\n"
     "path_prefix = '/a/'",
     "routes[1]", "matches the same requests as routes[0]"),
    ("[[routes]]\nupstream = 'http://h'\nname = 'n'\n[[routes]]\nupstream = 'http://h'\n"
     "name = 'n'\nhost = 'h'",
     "routes[1].name", "is also the name of routes[0]"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a' }",
     "routes[0].rewrite.regex", "needs `to`"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { to = 'a' }",
     "routes[0].rewrite", "write one of"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a', to = 'b', path = '/x' }",
     "routes[0].rewrite", "write one of"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = '(a)', to = '/$2' }",
     "routes[0].rewrite.to", "`$2` is not there: the pattern has one group"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a', to = '/$1' }",
     "routes[0].rewrite.to", "the pattern has no group"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = '(a)', to = '/\\3' }",
     "routes[0].rewrite.to", "is not there"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a', to = '/$x' }",
     "routes[0].rewrite.to", "no number of a group"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a', to = '/b?c' }",
     "routes[0].rewrite.to", "the query stays as it came"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = 'a', to = '/b c' }",
     "routes[0].rewrite.to", "percent-encode it"),
    ("[[routes]]\nupstream = 'http://h'\nrewrite = { regex = '(?=a)', to = '/b' }",
     "routes[0].rewrite.regex", "is not a pattern of RE2"),
    ("[[routes]]\nanswer = {}\nrewrite = { regex = 'a', to = 'b' }",
     "routes[0].rewrite", "there is no upstream"),
    ("[[routes]]\nstatic = { root = '' }",
     "routes[0].static.root", "name a directory"),
    ("[[routes]]\nstatic = { root = '/etc/passwd' }",
     "routes[0].static.root", "is not a directory"),
    ("[[routes]]\nstatic = { root = 'nowhere' }",
     "routes[0].static.root", "no such file or directory"),
    ("[[routes]]\nstatic = { root = '/tmp', index = [''] }",
     "routes[0].static.index[0]", "no name of a file"),
    ("[[routes]]\nstatic = { root = '/tmp', index = ['.x'] }",
     "routes[0].static.index[0]", "no name of a file"),
    ("[[routes]]\nstatic = { root = '/tmp', fallback = '/../x' }",
     "routes[0].static.fallback", "no path of a file"),
    ("[[routes]]\nstatic = { root = '/tmp', fallback = '/a//b' }",
     "routes[0].static.fallback", "no path of a file"),
    ("[[routes]]\nstatic = { root = '/tmp' }\nanswer = {}",
     "routes[0]", "has both `answer` and `static`"),
    ("[[routes]]\nstatic = { root = '/tmp' }\nupstream = 'http://h'",
     "routes[0]", "has both `upstream` and `static`"),
    ("[[routes]]\nstatic = { index = ['a'] }",
     "routes[0].static.root", "is missing"),
    ("[[routes]]\nanswer = { file = '/dev/zero' }",
     "routes[0].answer.file", "is a device"),
]  # fmt: skip


def test_roots_count_from_the_file_that_names_them(tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "page.html").write_text("p")
    path = tmp_path / "blitz.toml"
    path.write_text(
        "[[routes]]\nstatic = { root = 'www' }\n[[routes]]\npath = '/x'\nanswer = { file = 'page.html' }"
    )
    loaded = read_config(path, {})
    assert loaded.problems == []
    static = loaded.resolved.routes[0].static
    assert static is not None
    assert static.root == str(tmp_path / "www")
    assert loaded.resolved.routes[1].body == b"p"
    assert str(tmp_path / "page.html") in loaded.resolved.sources  # `watch` looks at it


@pytest.mark.parametrize(("text", "key", "sentence"), RULES)
def test_what_cannot_run_is_refused(tmp_path, text, key, sentence):
    if "routes" not in text:
        text += "\n[[routes]]\nupstream = 'http://h'\n"
    path = tmp_path / "blitz.toml"
    path.write_text(text)
    found = [problem for problem in read_config(path, {}).problems if "switched off" not in problem.message]
    (problem,) = found
    assert problem.key == key and problem.line > 0
    assert sentence in problem.message


def test_a_plugins_timeout_is_held_against_the_total(plugins):
    wanted = config(plugins(a=MANIFEST), Plugin(name="a", timeout=2.0), timeouts={"total": 1})
    assert only(messages(wanted)).startswith("plugins[0].timeout: 2s is longer than timeouts.total, 1s")


@pytest.mark.parametrize("listen", ["127.0.0.1:9900", "127.8.8.8:0", "[::1]:9900", "localhost:9900"])
def test_an_admin_address_that_only_this_machine_reaches_needs_no_token(listen):
    admin = resolve(config(admin=Admin(listen=listen))).admin
    assert str(admin.listen) == listen and admin.token == ""


def test_an_admin_address_that_others_reach_needs_one_and_never_shows_it():
    admin = Admin(listen=":9900", token="0123456789abcdef")
    resolved = resolve(config(admin=admin))
    assert resolved.admin.token == admin.token
    assert admin.token not in repr(admin) + repr(resolved)


def test_the_admin_listener_is_off_where_nobody_asked_for_it():
    assert resolve(config()).admin.listen is None
