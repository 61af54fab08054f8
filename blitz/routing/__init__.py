"""Which route serves a request, and which endpoint of its upstream."""
