"""Sockets, connections, exchanges: the one part of Blitz that waits."""
