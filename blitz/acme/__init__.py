"""Certificates that the gateway gets for itself from an authority that speaks ACME (RFC 8555)."""
