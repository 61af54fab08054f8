"""The processes of a gateway: a parent that supervises (``parent.py``), and workers (``worker.py``).

Nothing is imported here: the command line takes its signals (``signals.py``) before what takes time.
"""
