"""Filters of the gateway's own: CORS, who the client is, how much it may ask. No socket, no clock, no trio.

A filter sees a request (``message.py``), and may wait for what a ``Services`` gives (``services.py``): a
computation beside the event loop, another service's answer, keys. The shell is
``blitz/server/own_filters.py``.
"""
