"""What a plugin may be granted by name, what it has unless it is denied, and how an operator changes that.

A clock of milliseconds and random bytes are what every host of WebAssembly gives, and toolchains import them
unasked (hash maps, loggers): they are granted unless somebody denies them. The rest is denied unless somebody
grants it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["BY_DEFAULT", "CAPABILITIES", "contradictions", "how_to_allow", "how_to_grant", "in_force"]

# And how they are called in a sentence.
CAPABILITIES = {
    "clock": "clock",
    "random": "random bytes",
    "gc": "garbage collector",
    "fine_clock": "clock of nanoseconds",
}
BY_DEFAULT = ("clock", "random")


def in_force(
    defaults: tuple[Iterable[str], Iterable[str]], own: tuple[Iterable[str] | None, Iterable[str] | None]
) -> tuple[str, ...]:
    """What a plugin may use.

    Args:
        defaults: grants and denials for all plugins.
        own: the plugin's, which go before; None: it has none of that kind.
    """
    grant, deny = own
    granted = {*BY_DEFAULT, *(defaults[0] if grant is None else ())} - set(
        defaults[1] if deny is None else ()
    )
    granted = (granted | set(grant or ())) - set(deny or ())
    if "clock" not in granted:
        granted.discard("fine_clock")
    return tuple(name for name in CAPABILITIES if name in granted)


def contradictions(grant: Collection[str], deny: Iterable[str]) -> list[tuple[int, str]]:
    """Places in *deny*, each with the name in *grant* that says the opposite."""
    found = []
    for index, name in enumerate(deny):
        if name in grant:
            found.append((index, name))
        elif name == "clock" and "fine_clock" in grant:
            found.append((index, "fine_clock"))
    return found


def how_to_grant(plugin: str, capabilities: Iterable[str]) -> str:
    """What an operator does so that *plugin* may use all of *capabilities*, for the end of a sentence."""
    names = sorted(set(capabilities) - set(BY_DEFAULT))
    # A dot or a mere number would mean something else in a key.
    key = "plugin_defaults" if "." in plugin or plugin.isdigit() else f"plugins.{plugin}"
    listed = ", ".join(f'"{name}"' for name in names)
    said = ",".join(names)
    return (
        f'to grant it, write grant = [{listed}] in its [[plugins]] entry (name = "{plugin}"); '
        f"without a file, say --set {key}.grant={said}, or set PLUGIN_GRANT={said} for all plugins"
    )


def how_to_allow(plugin: str, capability: str) -> str:
    """What an operator does about something that is only missing because it is denied; the same place."""
    return (
        f'to allow it, take "{capability}" out of deny: in its [[plugins]] entry (name = "{plugin}"), '
        "[plugin_defaults] or PLUGIN_DENY"
    )
