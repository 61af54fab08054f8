"""Bytes to heads and body parts, and the rules an intermediary follows. No sockets, no clock."""
