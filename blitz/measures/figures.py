"""Every figure that a gateway tells, declared once.

``docs/operations.md`` has the table that is made of this, and ``/metrics`` says the same above each family.
Names follow Prometheus' conventions: base units, ``_total`` for what only grows. Labels are bounded: what a
client chooses never becomes one.
"""

from __future__ import annotations

from dataclasses import dataclass

from blitz._native import lib

__all__ = ["FIGURES", "Figure"]

COUNTER, GAUGE = lib.BLITZ_MEASURE_COUNT, lib.BLITZ_MEASURE_GAUGE
SECONDS, VALUES = lib.BLITZ_MEASURE_SECONDS, lib.BLITZ_MEASURE_VALUES
SUM, MAX, MIN = lib.BLITZ_MERGE_SUM, lib.BLITZ_MERGE_MAX, lib.BLITZ_MERGE_MIN


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """One figure.

    Attributes:
        number: its index in FIGURES.
        name: of its samples, before ``_bucket``, ``_sum`` and ``_count``.
        kind: BLITZ_MEASURE_*.
        help: one sentence.
        labels: their names, in the order in which values are given.
        unit: base unit that the name ends with; "" for a number of things.
        merge: BLITZ_MERGE_*, for a gauge that several workers tell.
    """

    number: int
    name: str
    kind: int
    help: str
    labels: tuple[str, ...]
    unit: str
    merge: int

    @property
    def type(self) -> str:
        """As the exposition formats call its kind."""
        return {COUNTER: "counter", GAUGE: "gauge"}.get(self.kind, "histogram")


FIGURES: list[Figure] = []


def _declare(
    name: str, kind: int, text: str, labels: tuple[str, ...] = (), unit: str = "", merge: int = SUM
) -> Figure:
    figure = Figure(len(FIGURES), name, kind, text, labels, unit, merge)
    FIGURES.append(figure)
    return figure


# -- requests

REQUESTS = _declare(
    "blitz_requests_total",
    COUNTER,
    "Requests that have ended, by route, method and status code; 499: the client went before.",
    ("route", "method", "code"),
)
REQUEST_SECONDS = _declare(
    "blitz_request_duration_seconds",
    SECONDS,
    "From the end of the request's head to the end of the exchange.",
    ("route",),
    "seconds",
)
GATEWAY_SECONDS = _declare(
    "blitz_gateway_duration_seconds",
    SECONDS,
    "What of that was neither a plugin's nor an upstream's: the gateway, and a slow client.",
    ("route",),
    "seconds",
)
PLUGINS_SECONDS = _declare(
    "blitz_plugins_duration_seconds",
    SECONDS,
    "What of that all hooks took together, for requests that ran any.",
    ("route",),
    "seconds",
)
UPSTREAM_SECONDS = _declare(
    "blitz_upstream_duration_seconds",
    SECONDS,
    "What of that upstreams took, from the first try to the last byte of the response.",
    ("route",),
    "seconds",
)
REQUEST_BYTES = _declare(
    "blitz_request_body_bytes_total", COUNTER, "Bytes of request bodies.", ("route",), "bytes"
)
RESPONSE_BYTES = _declare(
    "blitz_response_body_bytes_total",
    COUNTER,
    "Bytes of response bodies sent to clients.",
    ("route",),
    "bytes",
)
IN_FLIGHT = _declare("blitz_requests_in_flight", GAUGE, "Requests that run now.")
EXCHANGES = _declare("blitz_exchanges_total", COUNTER, "Request heads that were read.")
CLIENT_ERRORS = _declare(
    "blitz_client_errors_total", COUNTER, "Requests refused because of what the client sent."
)
UPSTREAM_ERRORS = _declare(
    "blitz_upstream_errors_total",
    COUNTER,
    "Errors sent for want of a response from upstream, or of a route.",
)
INTERNAL_ERRORS = _declare("blitz_internal_errors_total", COUNTER, "Faults of the gateway itself.")
TIMEOUTS = _declare("blitz_timeouts_total", COUNTER, "Deadlines of clients' connections that have passed.")

# -- connections

CONNECTIONS = _declare("blitz_connections_open", GAUGE, "Client connections that are open.")
ACCEPTED = _declare("blitz_connections_total", COUNTER, "Client connections that were served.")
REFUSED = _declare(
    "blitz_connections_refused_total", COUNTER, "Connections closed at once: there were too many."
)
REFUSED_PER_ADDRESS = _declare(
    "blitz_connections_refused_per_address_total",
    COUNTER,
    "Those of them that were too many from one address.",
)
TLS_HANDSHAKES = _declare(
    "blitz_tls_handshakes_total", COUNTER, "TLS handshakes with clients that came to a good end."
)
TLS_FAILURES = _declare("blitz_tls_failures_total", COUNTER, "TLS handshakes with clients that failed.")
CERTIFICATE_EXPIRY = _declare(
    "blitz_certificate_expiry_timestamp_seconds",
    GAUGE,
    "When a certificate of the gateway ends, in seconds since the epoch.",
    ("file",),
    "seconds",
    MIN,
)

# -- upstreams

ENDPOINT = ("upstream", "endpoint")
UPSTREAM_UP = _declare(
    "blitz_upstream_up",
    GAUGE,
    "0 while connections to the endpoint fail in any worker, else 1.",
    ENDPOINT,
    "",
    MIN,
)
UPSTREAM_IN_FLIGHT = _declare(
    "blitz_upstream_requests_in_flight", GAUGE, "Connections to the endpoint that are in use.", ENDPOINT
)
UPSTREAM_IDLE = _declare(
    "blitz_upstream_connections_idle", GAUGE, "Connections to the endpoint kept for reuse.", ENDPOINT
)
UPSTREAM_FAILURES = _declare(
    "blitz_upstream_connect_failures_total", COUNTER, "Connections that could not be made.", ENDPOINT
)
UPSTREAM_UNASKED = _declare(
    "blitz_upstream_unasked_total",
    COUNTER,
    "Connections closed because the upstream said on them what nobody had asked for.",
    ENDPOINT,
)

MIRROR_SENT = _declare("blitz_mirror_sent_total", COUNTER, "Copies of requests that were sent to mirrors.")
MIRROR_DROPPED = _declare(
    "blitz_mirror_dropped_total",
    COUNTER,
    "Copies that were not made: one too many, or the request's body was not all there.",
)
MIRROR_FAILED = _declare(
    "blitz_mirror_failed_total",
    COUNTER,
    "Copies that were sent and had no whole answer in time.",
)

# -- plugins

PLUGIN = ("plugin",)
PLUGIN_CALLS = _declare(
    "blitz_plugin_calls_total",
    COUNTER,
    "Hooks that have ended: continue, stop, error (-1), fault, or cut (given up by the gateway).",
    ("plugin", "hook", "verdict"),
)
PLUGIN_SECONDS = _declare(
    "blitz_plugin_duration_seconds",
    SECONDS,
    "What one hook took, waits for its next time slice included.",
    ("plugin", "hook"),
    "seconds",
)
PLUGIN_FAULTS = _declare(
    "blitz_plugin_faults_total",
    COUNTER,
    "Faults by cause: trap, timeout, memory, verdict, reroute, suspended or load.",
    ("plugin", "cause"),
)
ALL_PLUGIN_FAULTS = _declare(
    "blitz_plugins_faults_total", COUNTER, "Faults of all plugins that requests have met."
)
PLUGIN_BUSY = _declare("blitz_plugin_instances_busy", GAUGE, "Instances that run or are held.", PLUGIN)
PLUGIN_IDLE = _declare("blitz_plugin_instances_idle", GAUGE, "Instances that wait for a call.", PLUGIN)
PLUGIN_CREATED = _declare("blitz_plugin_instances_created_total", COUNTER, "Instances made.", PLUGIN)
PLUGIN_DISCARDED = _declare("blitz_plugin_instances_discarded_total", COUNTER, "Instances ended.", PLUGIN)
PLUGIN_MEMORY = _declare(
    "blitz_plugin_memory_high_water_bytes",
    GAUGE,
    "The largest linear memory that an instance was seen with since the version was loaded.",
    PLUGIN,
    "bytes",
    MAX,
)
PLUGIN_SKIPPED = _declare(
    "blitz_plugin_skipped_total", COUNTER, "Calls left out because the plugin fails open.", PLUGIN
)
PLUGIN_QUARANTINED = _declare(
    "blitz_plugin_quarantined", GAUGE, "Workers in which the plugin is in quarantine.", PLUGIN
)
PLUGIN_QUARANTINES = _declare(
    "blitz_plugin_quarantines_total", COUNTER, "Quarantines that have begun.", PLUGIN
)

# -- plugins' own

CUSTOM = ("plugin", "name")
CUSTOM_COUNT = _declare(
    "blitz_plugin_count_total", COUNTER, "What plugins count: `count`; more labels are its own.", CUSTOM
)
CUSTOM_GAUGE = _declare(
    "blitz_plugin_gauge", GAUGE, "What plugins tell: `gauge`, added up over workers; the same.", CUSTOM
)
CUSTOM_OBSERVED = _declare(
    "blitz_plugin_observed", VALUES, "What plugins observe: `observe`; the same.", CUSTOM
)
CUSTOM_REFUSED = _declare(
    "blitz_plugin_metrics_refused_total",
    COUNTER,
    "Calls of these with a name more than the plugin may have; they counted nothing.",
    PLUGIN,
)

# -- the gateway

BUILD_INFO = _declare("blitz_build_info", GAUGE, "1; the version is a label.", ("version",), "", MAX)
WORKERS = _declare("blitz_workers", GAUGE, "Workers that tell how they are.")
RESTARTS = _declare("blitz_worker_restarts_total", COUNTER, "Workers that died and were replaced.")
GENERATION = _declare(
    "blitz_config_generation", GAUGE, "Of the configuration; the newest, while workers differ.", (), "", MAX
)
RELOADS = _declare(
    "blitz_config_reloads_total",
    COUNTER,
    "Reloads by result: success or refused; each worker's.",
    ("result",),
)
RELOAD_SUCCESS = _declare(
    "blitz_config_last_reload_successful",
    GAUGE,
    "0 if the last reload was refused in any worker.",
    (),
    "",
    MIN,
)
RELOAD_TIME = _declare(
    "blitz_config_last_reload_timestamp_seconds",
    GAUGE,
    "When that was, in seconds since the epoch.",
    (),
    "seconds",
    MAX,
)
LOG_DROPPED = _declare(
    "blitz_log_lines_dropped_total", COUNTER, "Lines that the log's writer could not keep up with.", ("log",)
)
STREAMS_DROPPED = _declare(
    "blitz_admin_streams_dropped_total",
    COUNTER,
    "Streams of the admin listener that were ended because their clients were too slow.",
)
LOOP_LAG = _declare(
    "blitz_event_loop_lag_seconds",
    SECONDS,
    "How much later than asked for a task ran; looked at once a second.",
    (),
    "seconds",
)
SERIES_REFUSED = _declare(
    "blitz_metrics_series_refused_total", COUNTER, "Series that found no room, and are missing here."
)
