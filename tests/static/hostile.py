"""A root with secrets around it and in it, and paths that try to reach those."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

SECRET = b"SECRET"
PUBLIC = {
    "index.html": b"<p>index",
    "a.txt": b"a",
    "sub/index.html": b"<p>sub",
    "sub/b.css": b"b{}",
    "sub/deep/c d.txt": b"c",
    "..c/x.txt": None,  # begins with a dot
    ".well-known/acme.txt": b"known",
    "100%.txt": b"percent",
    "a%2fb.txt": b"literal",
    "\u00e9.txt": "\u00e9".encode(),
}


def make_root(base: Path) -> Path:
    """*base*/www, with secrets that nobody may get."""
    root = base / "www"
    for name, data in PUBLIC.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET if data is None else data)
    for name in ("secret.txt", "www-secret/a.txt", "etc/passwd", "index.html", "a.txt"):
        file = base / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET)
    for name in (".git/config", ".htpasswd", "sub/.env", ".well-known/.hidden", ".well-knownx/a.txt"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(SECRET)
    links = {
        "out.txt": "../secret.txt",
        "out": "../etc",
        "up": "..",
        "absolute.txt": str(base / "secret.txt"),
        "absolute": str(base),
        "sub/twice.txt": "../out.txt",
        "sub/out": "../../www-secret",
        "circle": "circle",
        "proc": "/proc/self/root",
        "fd": "/proc/self/fd",
        "nowhere": "missing",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "inside.txt").symlink_to("sub/../a.txt")
    (root / "inside").symlink_to("sub")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(root)  # the name of a socket is short
        try:
            made.bind("socket")
        finally:
            os.chdir(here)
    return root


SEGMENTS = (
    *(
        "a.txt",
        "sub",
        "deep",
        "b.css",
        "index.html",
        "c%20d.txt",
        "secret.txt",
        "etc",
        "passwd",
        "out",
        "out.txt",
    ),
    *("up", "absolute", "absolute.txt", "twice.txt", "proc", "fd", "fifo", "socket", "circle", "nowhere"),
    *(
        "www",
        "www-secret",
        ".git",
        "config",
        ".htpasswd",
        ".env",
        ".well-known",
        "acme.txt",
        ".hidden",
        "..c",
    ),
    *("..", ".", "...", "", "%2e%2e", "%2E.", ".%2e", "%252e%252e", "%c0%ae%c0%ae", "..;", "..;x=1", "..%00"),
    *("..%09", "..%20", "%20..", "..\\", "..%5c", "%5c..", "a.txt%00", "a.txt%00.html", "a.txt;x", "~", "%"),
    *(
        "%2",
        "%zz",
        "x" * 255,
        "x" * 256,
        "x" * 5000,
        "100%25.txt",
        "a%252fb.txt",
        "%c3%a9.txt",
        "inside",
        "C:",
    ),
)
NEAR = ("a.txt", "sub", "sub", "b.css", "deep", "c%20d.txt", ".well-known", "acme.txt", "%73ub")
BORDERS = ("/", "/", "/", "//", "%2f", "%2F", "\\", "%5c", "/./", "/../", "%252f", "/;/", "%00/")


def paths(seed: int, count: int) -> Iterator[str]:
    """Seeded, so that a failure can be had again."""
    chosen = random.Random(seed)
    for _ in range(count):
        odd = chosen.random() / 2  # how much of it is; some of it has to be near to what is there
        made = chosen.choice(("//", "/%2f", "/\\", "/.", "/..", "")) if chosen.random() < odd else "/"
        for _ in range(chosen.randint(1, 6)):
            made += chosen.choice(SEGMENTS if chosen.random() < odd else NEAR)
            made += chosen.choice(BORDERS) if chosen.random() < odd else "/"
        yield made if chosen.random() < 0.5 else made.rstrip("/")
