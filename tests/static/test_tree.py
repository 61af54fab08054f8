"""Whatever a client asks for, what is read is a regular file below the root, not hidden; with openat2 and
without."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from blitz.static import tree as tree_module
from blitz.static.names import file_name
from blitz.static.tree import MAX_SMALL, Changed, Kind, Looked, Opener, Tree, is_same

from .hostile import PUBLIC, SECRET, make_root, paths

OPENERS = [
    pytest.param(tree_module.open_beneath, id="openat2"),
    pytest.param(tree_module.open_by_steps, id="by steps"),
]
with_openers = pytest.mark.parametrize("opener", OPENERS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("hostile"))


def tree_of(root: Path, opener: Opener, *, listing: bool = True) -> Tree:
    return Tree(str(root), ("index.html",), listing=listing, opener=opener)


def look(root: Path, path: str, opener: Opener, *, listing: bool = True) -> Looked:
    name = file_name(path.encode())
    return tree_of(root, opener, listing=listing).look(name) if name is not None else Looked(Kind.MISSING)


@with_openers
def test_hostile_paths_reach_no_secret(root: Path, opener: Opener) -> None:
    served = set()
    open_before = len(os.listdir("/proc/self/fd"))
    for path in paths(12, 4000):
        found = look(root, path, opener)
        assert found.fd == -1
        if found.kind == Kind.FILE:
            assert SECRET not in (found.body or b""), path
            served.add(bytes(found.body or b""))
        elif found.kind == Kind.LISTING:
            page = found.body or b""
            assert not any(word in page for word in (b".git", b"htpasswd", b"secret", b"passwd")), path
    # The generator reaches what it may: else it would prove nothing.
    assert {b"a", b"b{}", b"<p>sub", b"known"} <= served
    assert len(os.listdir("/proc/self/fd")) == open_before


@with_openers
@pytest.mark.parametrize("name", ["a.txt", "sub/b.css", ".well-known/acme.txt", "100%.txt", "a%2fb.txt"])
def test_what_is_there(root: Path, opener: Opener, name: str) -> None:
    path = "/" + name.replace("%", "%25")
    found = look(root, path, opener)
    assert (found.kind, found.body, found.size) == (Kind.FILE, PUBLIC[name], len(PUBLIC[name] or b""))


@with_openers
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/sub", Kind.DIRECTORY),
        ("/sub/", Kind.FILE),
        ("/sub/deep", Kind.DIRECTORY),
        ("/sub/deep/", Kind.LISTING),
        ("/a.txt/", Kind.MISSING),
        ("/a.txt/x", Kind.MISSING),
        ("/fifo", Kind.MISSING),
        ("/socket", Kind.MISSING),
        ("/circle", Kind.MISSING),
        ("/nowhere", Kind.MISSING),
        ("/out.txt", Kind.MISSING),
        ("/out/passwd", Kind.MISSING),
        ("/up/secret.txt", Kind.MISSING),
        ("/absolute.txt", Kind.MISSING),
        ("/proc/etc/passwd", Kind.MISSING),
        ("/sub/twice.txt", Kind.MISSING),
        ("/" + "x" * 255, Kind.MISSING),
        ("/" + "x" * 256, Kind.MISSING),
        ("/" + "/".join(["x" * 250] * 20), Kind.MISSING),
        ("/", Kind.FILE),
    ],
)
def test_kinds(root: Path, opener: Opener, path: str, kind: str) -> None:
    assert look(root, path, opener).kind == kind


def test_links_that_stay_inside_are_followed_where_the_kernel_sees_to_it(root: Path) -> None:
    assert look(root, "/inside.txt", tree_module.open_beneath).body == b"a"
    assert look(root, "/inside/b.css", tree_module.open_beneath).body == b"b{}"
    assert look(root, "/inside.txt", tree_module.open_by_steps).kind == Kind.MISSING
    assert look(root, "/inside/b.css", tree_module.open_by_steps).kind == Kind.MISSING


def test_the_fallback_of_the_opener_is_taken_where_there_is_no_openat2(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lib:
        @staticmethod
        def blitz_open_beneath(directory: int, name: bytes, flags: int) -> int:
            return -errno.ENOSYS

    monkeypatch.setattr(tree_module, "lib", Lib)  # an older kernel, which is not here
    assert look(root, "/a.txt", tree_module.open_beneath).body == b"a"
    assert look(root, "/out.txt", tree_module.open_beneath).kind == Kind.MISSING


@with_openers
def test_a_root_that_is_a_link_is_another_one_as_soon_as_the_link_is(tmp_path: Path, opener: Opener) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "v.txt").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("one")
    tree = tree_of(current, opener)
    assert tree.look(b"v.txt").body == b"one"
    current.unlink()
    current.symlink_to("two")
    assert tree.look(b"v.txt").body == b"two"


@with_openers
def test_nothing_of_a_listing_leads_out_or_is_hidden(root: Path, opener: Opener) -> None:
    page = (look(root, "/.well-known/", opener).body or b"").decode()
    assert "acme.txt" in page
    assert ".hidden" not in page
    (root / "list").mkdir(exist_ok=True)
    for name, target in (("out", "../../etc"), ("gone", "missing")):
        if not (root / "list" / name).is_symlink():
            (root / "list" / name).symlink_to(target)
    (root / "list" / "it.txt").write_text("x")
    page = (look(root, "/list/", opener).body or b"").decode()
    assert page.count("<tr>") == 2  # the way up, and the file
    assert "it.txt" in page
    assert look(root, "/list/", opener, listing=False).kind == Kind.MISSING


def test_names_in_a_listing_are_text(tmp_path: Path) -> None:
    evil = [
        b"<script>alert(1)<>.txt",
        b'" onclick="x.txt',
        b"' x='.txt",
        b"&lt",
        b"javascript:alert(1)",
        b"\xff\xfe.txt",
        b"\xe2\x80\xaegpj.exe",
        b"a\nb.txt",
        b"a?b#c%41.txt",
        b"</td></table>".replace(b"/", b"\xe2\x88\x95"),
    ]
    for name in evil:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    tree = Tree(str(tmp_path), (), listing=True)
    page = tree.look(b"").body or b""
    text = page.decode()  # all of it is UTF-8
    body = text[text.index("<table>") :]
    assert "<script" not in body
    assert 'onclick="x' not in body
    assert "\u202e" not in body
    assert "\n" not in body[body.index("<table>\n") + 8 :].split("</tr>\n")[0]
    # Each name leads to its file, and to nothing else.
    import html.parser

    links: list[str] = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag in (
                "table",
                "tr",
                "td",
                "a",
                "html",
                "head",
                "meta",
                "title",
                "style",
                "body",
                "h1",
                "p",
            )
            assert tag != "a" or [name for name, _ in attrs] == ["href"]
            links.extend(value or "" for name, value in attrs if name == "href")

    Links().feed(text)
    assert len(links) == len(evil)
    for link in links:
        assert link.startswith("./")
        assert tree.look(file_name(link[1:].encode()) or b"").body == b"x"


def test_a_large_directory_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "MAX_ENTRIES", most := 20)
    for n in range(most + 5):
        (tmp_path / f"{n}").touch()
    page = (Tree(str(tmp_path), (), listing=True).look(b"").body or b"").decode()
    assert page.count("<tr>") == most
    assert f"first {most} entries" in page


def test_large_files_come_open_and_small_ones_whole(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), (), listing=False)
    for size in (0, 1, MAX_SMALL, MAX_SMALL + 1):
        (tmp_path / "f").write_bytes(bytes(size))
        found = tree.look(b"f")
        assert found.size == size
        assert (found.body is None) == (found.fd >= 0) == (size > MAX_SMALL)
        assert found.body in (None, bytes(size))
        found.close()
        assert found.fd == -1


def test_what_has_not_changed_is_not_read_again(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), (), listing=False)
    (tmp_path / "f").write_bytes(b"one")
    first = tree.look(b"f")
    assert tree.look(b"f", first).body is first.body
    (tmp_path / "g").write_bytes(b"two")
    os.replace(tmp_path / "g", tmp_path / "f")
    assert tree.look(b"f", first).body == b"two"


def test_a_file_that_is_written_all_the_time_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"one")
    size = 3

    def opener(directory: int, name: bytes, flags: int) -> int:
        return tree_module.open_beneath(directory, name, flags)

    tree = Tree(str(tmp_path), (), listing=False, opener=opener)
    read = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        nonlocal size
        size += 1
        (tmp_path / "f").write_bytes(bytes(size))
        return read(fd, count, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", pread)
        with pytest.raises(Changed):
            tree.look(b"f")


def test_what_is_open_stays_what_it_was_when_another_file_takes_its_name(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(MAX_SMALL + 1))
    found = Tree(str(tmp_path), (), listing=False).look(b"f")
    try:
        (tmp_path / "g").write_bytes(b"x")
        os.replace(tmp_path / "g", tmp_path / "f")
        assert is_same(found.fd, found.seen)
    finally:
        found.close()
    (tmp_path / "f").write_bytes(bytes(MAX_SMALL + 1))
    found = Tree(str(tmp_path), (), listing=False).look(b"f")
    try:
        os.truncate(tmp_path / "f", 5)
        assert not is_same(found.fd, found.seen)
    finally:
        found.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_denied(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0)
    assert Tree(str(tmp_path), (), listing=False).look(b"f").kind == Kind.DENIED


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, Kind.DENIED), (errno.ENOENT, Kind.MISSING), (errno.EXDEV, Kind.MISSING)],
)
def test_what_the_system_says(tmp_path: Path, number: int, kind: str) -> None:
    def opener(directory: int, name: bytes, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    assert Tree(str(tmp_path), (), listing=False, opener=opener).look(b"f").kind == kind


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE])
def test_trouble_of_the_system_is_no_answer(tmp_path: Path, number: int) -> None:
    def opener(directory: int, name: bytes, flags: int) -> int:
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=os.strerror(number)):
        Tree(str(tmp_path), (), listing=False, opener=opener).look(b"f")
