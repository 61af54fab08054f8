"""Configurations of other proxies, and two small ones in Python, that the suite is calibrated with."""
