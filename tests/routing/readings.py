"""What a path may mean, by brute force and twice: the referees of ``native/path.c``.

``meanings`` applies every rule at every place or not, one place after the other, and gives every stack
of segments that comes of it. ``pipelines`` has what servers do as functions from path to path, and applies
them in every order until nothing new comes. The first says exactly what is to pass; whatever the second
finds, the first must have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

RAW = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,;=:@/[]^|")
SPECIAL = frozenset(b"/\\;?#\x00")
BORDERS = frozenset(b"/\\")
CUTS = frozenset(b";?#\x00")
SOFT = 0x5C  # a border that was not a slash to begin with
DATA = 256  # added to a special byte that a reading takes for data
CLIMBS = "climbs"
Text = tuple[int, ...]


def is_hex(code: int) -> bool:
    return code < 256 and chr(code) in "0123456789abcdefABCDEF"


def decoded_at(text: Text, at: int) -> list[Text]:
    """*text* with the encoded byte at *at* decoded, in one or two ways; nothing when there is none."""
    if text[at] != 0x25 or len(text) < at + 3 or not (is_hex(text[at + 1]) and is_hex(text[at + 2])):
        return []
    byte = int(chr(text[at + 1]) + chr(text[at + 2]), 16)
    kinds = [SOFT if byte == 0x2F else byte, byte + DATA] if byte in SPECIAL else [byte]
    return [(*text[:at], kind, *text[at + 3 :]) for kind in kinds]


def overlong_at(text: Text, at: int) -> list[Text]:
    """*text* with an ASCII byte that is spelt in two to four bytes of UTF-8 at *at* as one byte."""
    for start in ((), (0xE0,), (0xF0, 0x80)):
        end = at + len(start) + 2
        if text[at : at + len(start)] != start or end > len(text):
            continue
        high, low = text[end - 2 : end]
        if high in ((0x80, 0x81) if start else (0xC0, 0xC1)) and 0x80 <= low <= 0xBF:
            byte = (high & 1) << 6 | low & 0x3F
            kinds = [SOFT if byte == 0x2F else byte, byte + DATA] if byte in SPECIAL else [byte]
            return [(*text[:at], kind, *text[end:]) for kind in kinds]
    return []


def must_be_decoded(path: bytes) -> list[Text]:
    """The encoded bytes that have no other spelling are what they are to everybody; the others stay."""
    texts: list[Text] = [()]
    for part in re.findall(rb"%[0-9A-Fa-f]{2}|.", path, re.DOTALL):
        if len(part) == 3:
            byte = int(part[1:], 16)
            more = (
                [tuple(part)] if byte in RAW else [(byte,), (byte + DATA,)] if byte in SPECIAL else [(byte,)]
            )
        else:
            more = [(SOFT,), (SOFT + DATA,)] if part == b"\\" else [tuple(part)]
        texts = [text + one for text in texts for one in more]
    return texts


def spellings(path: bytes) -> set[Text]:
    """Every way to decode some of it, some of it more than once."""
    todo = must_be_decoded(path)
    seen = set(todo)
    while todo:
        text = todo.pop()
        for at in range(len(text)):
            for other in (*decoded_at(text, at), *overlong_at(text, at)):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
    return seen


def cuts(segment: Text) -> Iterator[tuple[Text, bool]]:
    """The segment as it is, and cut off where something may cut it; True: the path ends there."""
    yield segment, False
    for at, code in enumerate(segment):
        if code in CUTS:
            yield segment[:at], False
            if code != 0x3B:
                yield segment[:at], True


def trimmed(name: Text, soft: bool) -> set[Text]:
    """Without space around it, then without dots at its end; ".." if a soft border may be none."""
    data = list(name)
    while data and data[0] <= 0x20:
        del data[0]
    while data and data[-1] <= 0x20:
        del data[-1]
    spaced = tuple(data)
    while (soft or spaced != (0x2E, 0x2E)) and data and (data[-1] <= 0x20 or data[-1] == 0x2E):
        del data[-1]
    return {name, spaced, tuple(data)}


@lru_cache(100_000)
def effects(segment: Text, soft: bool) -> frozenset[tuple[object, bool]]:
    """What a segment may do to the stack: push a name, pop (".."), nothing (""); True: and be the last."""
    found: set[tuple[object, bool]] = set()
    for cut, ends in cuts(segment):
        for name in trimmed(cut, soft):
            found.add((name, ends))
            if name in ((), (0x2E,)):
                found.add(("", ends))
            if name == (0x2E, 0x2E):
                found.add(("..", ends))
    return frozenset(found)


def meanings(path: bytes) -> set[tuple[Text, ...] | str]:
    """The stacks of segments, or CLIMBS, of all readings."""
    results: set[tuple[Text, ...] | str] = set()
    for text in spellings(path):
        segments: list[tuple[Text, bool]] = [((), False)]
        for code in text[1:]:
            if code in BORDERS:
                segments.append(((), code == SOFT))
            else:
                segments[-1] = ((*segments[-1][0], code), segments[-1][1])
        stacks: set[tuple[Text, ...]] = {()}
        for segment, soft in segments:
            after: set[tuple[Text, ...]] = set()
            for stack in stacks:
                for effect, ends in effects(segment, soft):
                    if effect == "..":
                        if not stack:
                            results.add(CLIMBS)
                            continue
                        new = stack[:-1]
                    else:
                        new = stack if effect == "" else (*stack, effect)  # type: ignore[arg-type]
                    (results if ends else after).add(new)
            stacks = after
        results |= stacks
    return results


def routes_of(stack: tuple[Text, ...], routes: dict[tuple[bytes, ...], str]) -> set[str]:
    """Values of the longest prefixes: one as the names are, others with their letters' case folded."""
    found = set()
    for fold in (False, True):
        best: dict[int, set[str]] = {}
        for prefix, value in routes.items():
            if len(prefix) <= len(stack) and all(
                tuple(name.lower() if fold else name) == (lower(have) if fold else have)
                for name, have in zip(prefix, stack, strict=False)
            ):
                best.setdefault(len(prefix), set()).add(value)
        found |= best[max(best)]
    return found


def lower(name: Text) -> Text:
    return tuple(code | 0x20 if 0x41 <= code <= 0x5A else code for code in name)


# ---------------------------------------------------------------- what servers do, as functions


def resolve(path: bytes) -> bytes:
    """Dot segments, an empty segment counting as one; what climbs stays at the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)


def decode_but(kept: bytes) -> Callable[[bytes], bytes]:
    pattern = re.compile(rb"%(" + kept + rb")", re.IGNORECASE)
    return lambda path: unquote_to_bytes(pattern.sub(rb"%25\1", path))


def trim(path: bytes) -> bytes:
    return b"/".join(
        part if part in (b".", b"..") else part.rstrip(b". ").strip(b"\t\n ") for part in path.split(b"/")
    )


STEPS: list[Callable[[bytes], bytes]] = [
    unquote_to_bytes,
    decode_but(rb"2f"),
    decode_but(rb"2f|5c|25"),
    decode_but(rb"2f|3b|3f|23"),
    lambda path: re.sub(rb"(?i)%(2f|5c)", b"/", path),
    lambda path: re.sub(rb"(?i)%2e", b".", path),
    lambda path: path.replace(b"\\", b"/"),
    lambda path: re.sub(rb";[^/]*", b"", path),
    lambda path: re.sub(rb"(?i)(;|%3b)[^/]*", b"", path),
    lambda path: re.sub(rb"/+", b"/", path),
    resolve,
    trim,
    bytes.lower,
    lambda path: re.split(rb"[?#\x00]", path)[0],
]


def pipelines(path: bytes, most: int) -> set[bytes]:
    """Every path that the steps make of it in any order, up to *most* of them."""
    todo, seen = [path], {path}
    while todo and len(seen) < most:
        now = todo.pop()
        for step in STEPS:
            made = step(now)
            if made.startswith(b"/") and made not in seen:
                seen.add(made)
                todo.append(made)
    return seen


def plain_route(path: bytes, routes: dict[tuple[bytes, ...], str]) -> str:
    """The longest prefix of a path that is taken as it is; what has no other spelling is what it means."""

    def decoded(found: re.Match[bytes]) -> bytes:
        byte = unquote_to_bytes(found[0])
        return found[0] if byte[0] in RAW else byte

    names = [re.sub(rb"%[0-9A-Fa-f]{2}", decoded, name) for name in path.split(b"/")[1:]]
    return max(
        (len(prefix), value) for prefix, value in routes.items() if tuple(names[: len(prefix)]) == prefix
    )[1]
