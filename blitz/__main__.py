"""``blitz`` and ``python -m blitz``: signals are held before anything is imported that takes time."""

from __future__ import annotations

from blitz.process.signals import hold

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    hold()
    from blitz.cli import main as command

    command(prog_name="blitz")


if __name__ == "__main__":
    main()
