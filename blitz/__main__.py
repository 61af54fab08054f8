"""``python -m blitz``: the command without an installed script."""

from blitz.cli import main

main(prog_name="blitz")
