"""Benchmarks: one file per question, peers doing the same job beside Blitz. See README.md."""
