#!/usr/bin/env python3
"""Print text_tables.h: which characters may stand in a line of a log as they are.

    python native/text_tables.py > native/text_tables.h

The rule is that of Python's ``str.isprintable``: letters, marks, numbers, punctuation, symbols and the ASCII
space; no controls, no format characters (among them all that change the direction of text), no other spaces,
no separators, nothing private or unassigned. Of what is left, characters that show nothing by Unicode's
own word (Default_Ignorable_Code_Point) go too. U+FE00 to U+FE0F stay: they choose how the sign before them
looks, and ordinary text has them.

The table is that of the Unicode version of the Python that runs this; later versions only add characters.
"""

from __future__ import annotations

import sys
import unicodedata

IGNORED = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # Khmer vowels that are not written
    (0x180B, 0x180F),  # Mongolian selectors
    (0x3164, 0x3164),  # Hangul fillers
    (0xFFA0, 0xFFA0),
    (0xE0000, 0xE0FFF),  # tags and selectors that no common text has
)
A_LINE = 10


def is_shown(code: int) -> bool:
    return chr(code).isprintable() and not any(first <= code <= last for first, last in IGNORED)


def borders() -> list[int]:
    """The characters at which shown and not shown change places; before the first one nothing is shown."""
    found, shown = [], False
    for code in range(sys.maxunicode + 1):
        if is_shown(code) != shown:
            found.append(code)
            shown = not shown
    return found


def render() -> str:
    numbers = [f"0x{code:x}," for code in borders()]
    rows = ["    " + " ".join(numbers[at : at + A_LINE]) for at in range(0, len(numbers), A_LINE)]
    head = [
        "/* text_tables.h: made by text_tables.py, which says what the numbers mean; do not edit.",
        f" * Unicode {unicodedata.unidata_version}. */",
        "#ifndef BLITZ_TEXT_TABLES_H",
        "#define BLITZ_TEXT_TABLES_H",
        "#include <stdint.h>",
        "",
        "/* Characters at which shown and escaped change places; those before the first are escaped. */",
        "static const uint32_t BORDERS[] = {",
    ]
    return "\n".join([*head, *rows, "};", "#endif", ""])


if __name__ == "__main__":
    sys.stdout.write(render())
