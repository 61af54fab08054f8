"""``python -m benchmarks``: ask every question, or those named, and write the report."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

from .harness.bench import Bench, Settings, say
from .harness.errors import BenchError
from .harness.machine import choose_cores, describe, raise_file_limit
from .harness.places import BENCHMARKS
from .harness.plot import write_svg
from .harness.report import write_json, write_markdown
from .harness.table import Table
from .peers import ABSENT, PEERS
from .peers.blitz import beside

QUESTIONS = (
    "hook",
    "head",
    "paths",
    "fixed",
    "proxy",
    "shapes",
    "plugin",
    "chain3",
    "paced",
    "transfer",
    "parts",
    "idle",
    "workers",
    "isolation",
    "crowd",
    "passwords",
    "faults",
)
_SMOKE_SECONDS = 0.4


def main() -> int:
    args = _arguments()
    raise_file_limit()
    settings = Settings(
        seconds=_SMOKE_SECONDS if args.smoke else args.seconds,
        rounds=1 if args.smoke else args.rounds,
        smoke=args.smoke,
        only=tuple(args.only),
    )
    others = [beside(name, path) for name, path in args.beside]
    bench = Bench(settings, choose_cores(), [*PEERS, *others], ABSENT)
    tables: list[Table] = []
    try:
        for question in args.question or QUESTIONS:
            say(f"{question}: ...")
            begin = time.monotonic()
            tables += importlib.import_module(f"{__package__}.{question}").run(bench)
            say(f"{question}: {time.monotonic() - begin:.0f} s")
    except BenchError as exc:
        say(f"benchmarks: {exc}")
        return 1
    finally:
        bench.close()
    _write(args.out, args.name, bench, tables)
    return _verdict(tables, smoke=args.smoke)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "question", nargs="*", choices=[[], *QUESTIONS], help="default: all of them, in this order"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a fraction of a second each: does it all still run?"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a slice (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="slices of each contender (%(default)s)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PEER", help="only peers so named, and Blitz"
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=TREE",
        type=_tree,
        help="compare with the Blitz of another checkout, built in place",
    )
    parser.add_argument("--out", type=Path, default=BENCHMARKS / "results", help="folder of the report")
    parser.add_argument(
        "--name", default="", help="name of the report's files (latest; with --smoke local-smoke)"
    )
    args = parser.parse_args()
    args.name = args.name or ("local-smoke" if args.smoke else "latest")
    return args


def _tree(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found or not (Path(path) / "blitz").is_dir():
        raise argparse.ArgumentTypeError(f"wants NAME=TREE, the tree with a folder blitz in it; got {text}")
    return name, Path(path).resolve()


def _write(out: Path, name: str, bench: Bench, tables: list[Table]) -> None:
    machine = describe()
    out.mkdir(parents=True, exist_ok=True)
    rounds = f"one core per server; median, least and most of {bench.settings.rounds}"
    caption = f"{machine.date}; {machine.cores} x {machine.cpu}; {rounds}"
    drawn = not bench.settings.smoke and write_svg(out / f"{name}.svg", tables, caption)
    write_json(out / f"{name}.json", machine, bench, tables)
    write_markdown(out / f"{name}.md", machine, bench, tables, f"{name}.svg" if drawn else None)
    say(f"report: {out / name}.md")


def _verdict(tables: list[Table], *, smoke: bool) -> int:
    """What is missing is fine; what is here and fails is not. Unmet promises fail nothing: they are read."""
    broken = {f"{table.job}/{name}": why for table in tables for name, why in table.broken.items()}
    for name, why in broken.items():
        say(f"failed: {name}: {' '.join(why.split())[:500]}")
    for table in tables if not smoke else []:
        for claim in table.claims:
            if claim.met is False:
                value = f"{claim.value:.3g}{claim.unit}, wanted {claim.wanted:g}"
                say(f"not met: {table.job}: {claim.text}: {value}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
