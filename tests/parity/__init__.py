"""The same exchanges over each way through the gateway; whatever anybody can see must be the same.

``drivers.py``: the ways, and how one is forced. ``rig.py``: a gateway in this process with a recording
upstream, served by one driver. ``record.py``: all that was seen of a case, without what must differ (ids,
dates, ports). ``compare.py``: plays cases over drivers and compares. ``settings.py``: the configurations.
``guests.py``: plugins that write down all they see. ``exchanges.py``: random exchanges.
"""
