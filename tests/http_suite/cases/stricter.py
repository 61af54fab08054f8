"""Strict cases that no peer passes, each one looked at: the rule is the RFC's, or ours where it gives a choice.

They are strict for this gateway like all others. ``python -m tests.http_suite --target peers --compare`` says
whether the list is still true (nginx 1.22, HAProxy 2.6, Caddy 2.6, a plain h11 proxy): all of the peers let these
through, or do not do what an intermediary should (Via, Max-Forwards).
"""

from __future__ import annotations

__all__ = ["STRICTER_THAN_PEERS"]

_NAMES = {
    "host": (
        "bad_comma_no_space bad_two_ports bad_port_letters bad_port_mixed bad_port_negative "
        "bad_ipv6_unclosed bad_ipv6_bare bad_ipv6_junk_after bad_ipv6_empty bad_ipv6_letters "
        "bad_percent_broken bad_ipv6_zone_raw bad_ipv6_two_gaps bad_port_plus bad_port_hex"
    ),
    "chunked": (
        "lf_at_very_end ext_nul ext_control ext_del trailer_folded trailer_bare_lf trailer_lf_lf "
        "trailer_control bound_ext_8k"
    ),
    "forwarding": "via_added via_appended via_of_http10",
    "methods": "options_max_forwards_zero options_max_forwards_decremented options_max_forwards_one",
    "upgrade": "h2c h2c_lower_connection h2c_tunnel_attempt unasked_101_h2c_offered",
    "response": "version_2 reason_control field_soh field_escape field_del lf_hides_transfer_encoding",
    "answer": "bound_ext_in_sum",
}
STRICTER_THAN_PEERS = frozenset(
    f"{family}/{name}" for family, names in _NAMES.items() for name in names.split()
)
