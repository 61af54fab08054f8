"""Black-box HTTP suite: raw bytes in at one side, recorded bytes out at the other.

Nothing here knows how a gateway works inside. A *case* says what a client sends, what a scripted
upstream answers, and what must hold afterwards on both wires (``case.py``); ``cases/`` holds the
tables; ``runner.py`` plays them against a target (``targets.py``): this gateway in each of its
modes, or a peer that the suite is calibrated with.

    python -m tests.http_suite --target blitz
    python -m tests.http_suite --target nginx --family chunked -v
"""
