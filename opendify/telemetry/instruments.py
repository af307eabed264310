"""Every number that the service itself keeps, on one page; other rooms may declare more.

Label values are few: models are those of the table, keys those of the operator.
"""

from typing import Final

from opendify.telemetry.metrics import counter, gauge, histogram

_TOKEN_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_OVERHEAD_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_STORE_SECONDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5)

REQUESTS: Final = counter(
    "opendify_requests_total", "Requests that ended.", "route", "model", "stream", "status"
)
DURATIONS: Final = histogram(
    "opendify_request_duration_seconds", "From a request's head to its answer's last byte.", "route", "model"
)
ERRORS: Final = counter(
    "opendify_errors_total", "Requests that failed, before or within their answer.", "type", "code", "model"
)
KEY_REQUESTS: Final = counter(
    "opendify_key_requests_total",
    "Requests by the id of their key; `open` where none is needed.",
    "key",
    "status",
)
KEY_TOKENS: Final = counter(
    "opendify_key_tokens_total", "Tokens that Dify reported, by the id of the key.", "key"
)
TOKENS: Final = counter("opendify_tokens_total", "Tokens that Dify reported.", "model", "type")
FIRST_TOKENS: Final = histogram(
    "opendify_time_to_first_token_seconds", "From a request's head to the first text of its stream.", "model"
)
TOKEN_GAPS: Final = histogram(
    "opendify_inter_event_seconds",
    "Between two writes of a stream; of one stream a second in each worker, and its first writes.",
    "model",
    buckets=_TOKEN_SECONDS,
)
OVERHEADS: Final = histogram(
    "opendify_proxy_overhead_seconds",
    "What a request took besides its run at Dify.",
    "model",
    buckets=_OVERHEAD_SECONDS,
)
STREAMS: Final = gauge("opendify_streams_in_flight", "Streams that go on.")
CHATS: Final = gauge("opendify_chats_in_flight", "Chats, streamed or not, that hold one of a worker's slots.")
CAPACITY: Final = gauge("opendify_bulkhead_capacity", "Chats that all workers can hold at once.")
WAITING: Final = gauge("opendify_queue_waiting", "Requests that wait for a place, in a worker or at Dify.")
REJECTED: Final = counter("opendify_rejected_total", "Requests turned away unanswered.", "reason")
DISCONNECTS: Final = counter(
    "opendify_client_disconnects_total", "Clients that left before their answer was whole.", "phase"
)
ABORTED: Final = counter(
    "opendify_streams_aborted_total", "Streams that began and ended with an error.", "reason"
)
AUTH_FAILURES: Final = counter("opendify_auth_failures_total", "Requests without a key that opens.", "reason")
REFUSED_KEYS: Final = counter("opendify_refused_keys_total", "Keys that did not open, by why.", "reason")
LIMIT_HITS: Final = counter(
    "opendify_limit_hits_total", "Requests beyond what their key may in a minute, or at once.", "limit"
)

RUNS: Final = counter("opendify_upstream_requests_total", "Runs at Dify.", "model", "outcome")
RUN_SECONDS: Final = histogram("opendify_upstream_duration_seconds", "What a run at Dify took.", "model")
RETRIES: Final = counter("opendify_retries_total", "Tries again after Dify could not be reached.")
FALLBACKS: Final = counter("opendify_fallbacks_total", "Models that took over from another.", "model")
REPEATS: Final = counter("opendify_repeats_total", "Requests answered as their first attempt was.")
CIRCUITS: Final = gauge(
    "opendify_circuit_state", "1 where a Dify server is left alone for a while.", "server", mode="max"
)

CONVERSATIONS: Final = counter(
    "opendify_conversations_total",
    "Turns by what their conversation is: `new`, `continued`, `replayed`, `begun_anew`, `memory_lost`.",
    "event",
)
STORE_ERRORS: Final = counter("opendify_store_errors_total", "Times that a store did not answer.", "store")
STORE_SECONDS: Final = histogram(
    "opendify_store_duration_seconds",
    "What the conversation store took to answer.",
    buckets=_STORE_SECONDS,
)

WORKER_EXITS: Final = counter(
    "opendify_worker_exits_total",
    "Workers that ended: `dismissed` by the master, `recycled` by GUNICORN_MAX_REQUESTS, or `unasked`.",
    "cause",
)
RELOAD_SUCCESS: Final = gauge(
    "opendify_config_reload_success", "Whether the last reading of the configuration was good.", mode="max"
)
RELOAD_TIME: Final = gauge(
    "opendify_config_reload_timestamp_seconds", "When the configuration was last read.", mode="max"
)
COLLECTIONS: Final = gauge(
    "opendify_worker_gc_collections",
    "Collections of Python's garbage, as each worker last told.",
    "worker",
    "generation",
    mode="max",
)
