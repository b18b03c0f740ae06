"""Every metric, label, attribute and log key that GoShop speaks; nothing else spells one out.

Follows the OpenTelemetry semantic conventions 1.44: HTTP and database stable, RPC pinned.
Source: https://opentelemetry.io/docs/specs/semconv/
"""

from typing import Final

SEMCONV_VERSION: Final = "1.44.0"
SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMCONV_VERSION}"

# --- metrics (contract: names, labels, buckets; seconds throughout) ---------------------------------------------------
HTTP_REQUEST_DURATION: Final = "http_request_duration_seconds"
HTTP_REQUESTS_IN_PROGRESS: Final = "http_requests_in_progress"
HTTP_REQUESTS_REFUSED: Final = "http_requests_refused_total"
RPC_SERVER_DURATION: Final = "rpc_server_duration_seconds"
RPC_CLIENT_DURATION: Final = "rpc_client_duration_seconds"
DB_QUERY_DURATION: Final = "db_query_duration_seconds"
DB_QUERY_ERRORS: Final = "db_query_errors_total"
REDIS_COMMAND_DURATION: Final = "redis_command_duration_seconds"
DB_POOL_CONNECTIONS: Final = "db_pool_connections"
DB_POOL_CONNECTIONS_MAX: Final = "db_pool_connections_max"
DB_POOL_REQUESTS_WAITING: Final = "db_pool_requests_waiting"
DB_POOL_WAIT: Final = "db_pool_wait_seconds"
EVENT_LOOP_LAG: Final = "event_loop_lag_seconds"
SPANS_ENDED: Final = "telemetry_spans_ended_total"
SPANS_EXPORTED: Final = "telemetry_spans_exported_total"
SPANS_DROPPED: Final = "telemetry_spans_dropped_total"
SPANS_QUEUED: Final = "telemetry_spans_queued"
LOG_LINES_LOST: Final = "telemetry_log_lines_lost_total"
RATE_LIMIT_UNAVAILABLE: Final = "rate_limit_unavailable_total"

HTTP_LABELS: Final = ("method", "endpoint", "status_code")
RPC_LABELS: Final = ("rpc_service", "rpc_method", "rpc_status_code")
DB_QUERY_LABELS: Final = ("operation", "table")
DB_ERROR_LABELS: Final = ("operation", "error")
REDIS_LABELS: Final = ("command", "outcome")
POOL_LABELS: Final = ("state",)
DROP_LABELS: Final = ("reason",)
METHOD_LABELS: Final = ("method",)
REFUSED_LABELS: Final = ("reason",)
# The upper bound of a bucket.
BOUND_LABEL: Final = "le"

# 0.8 is the edge of the latency objective; the rest is the product's specification.
HTTP_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 2.0, 5.0)
# 0.2 is the edge of a slow query.
INTERNAL_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

# --- label values -----------------------------------------------------------------------------------------------------
OTHER_METHOD: Final = "_OTHER"
UNMATCHED_ENDPOINT: Final = ""
# https://grpc.io/docs/guides/status-codes/
RPC_STATUS_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
OVERFLOW_ENDPOINT: Final = "_OVERFLOW"
DROP_FULL: Final = "full"
DROP_REJECTED: Final = "rejected"
DROP_SHUTDOWN: Final = "shutdown"
REFUSED_MALFORMED: Final = "malformed"
REFUSED_HEAD_TOO_LARGE: Final = "head_too_large"
REFUSED_HEAD_TOO_SLOW: Final = "head_too_slow"
REFUSED_CROWDED: Final = "crowded"
OUTCOME_OK: Final = "ok"
OUTCOME_ERROR: Final = "error"
POOL_USED: Final = "used"
POOL_IDLE: Final = "idle"

# --- log keys (contract) ----------------------------------------------------------------------------------------------
LOG_TIMESTAMP: Final = "timestamp"
LOG_LEVEL: Final = "level"
LOG_LOGGER: Final = "logger"
LOG_MESSAGE: Final = "message"
LOG_SERVICE: Final = "service"
LOG_TRACE_ID: Final = "trace_id"
LOG_SPAN_ID: Final = "span_id"
LOG_TRACE_FLAGS: Final = "trace_flags"
LOG_METHOD: Final = "method"
LOG_ENDPOINT: Final = "endpoint"
LOG_PATH: Final = "path"
LOG_STATUS_CODE: Final = "status_code"
LOG_DURATION_MS: Final = "duration_ms"
LOG_CLIENT: Final = "client"
LOG_ERROR_TYPE: Final = "error_type"
LOG_EXCEPTION: Final = "exception"
ACCESS_LOGGER: Final = "access"

# --- answer headers ---------------------------------------------------------------------------------------------------
TRACE_RESPONSE_HEADER: Final = "traceresponse"
TRACE_ID_HEADER: Final = "x-trace-id"

# --- span attributes --------------------------------------------------------------------------------------------------
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_ROUTE: Final = "http.route"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
URL_TEMPLATE: Final = "url.template"
URL_SCHEME: Final = "url.scheme"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
CLIENT_ADDRESS: Final = "client.address"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
USER_AGENT_ORIGINAL: Final = "user_agent.original"
ERROR_TYPE: Final = "error.type"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_ESCAPED: Final = "exception.escaped"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
DB_SYSTEM_NAME: Final = "db.system.name"
DB_OPERATION_NAME: Final = "db.operation.name"
DB_COLLECTION_NAME: Final = "db.collection.name"
DB_QUERY_SUMMARY: Final = "db.query.summary"
DB_QUERY_TEXT: Final = "db.query.text"
DB_NAMESPACE: Final = "db.namespace"
DB_OPERATION_BATCH_SIZE: Final = "db.operation.batch.size"
DB_RESPONSE_STATUS_CODE: Final = "db.response.status_code"

# --- span attribute values --------------------------------------------------------------------------------------------
POSTGRESQL: Final = "postgresql"
REDIS: Final = "redis"
REDIS_PIPELINE: Final = "PIPELINE"
GRPC: Final = "grpc"
DISCONNECTED: Final = "client_disconnected"
INCOMPLETE: Final = "incomplete_response"

ORDER_ID: Final = "goshop.order.id"
PAYMENT_ID: Final = "goshop.payment.id"
LOAD_SCENARIO: Final = "goshop.load.scenario"
LOAD_WARMUP: Final = "goshop.load.warmup"

# --- resource ---------------------------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
NAMESPACE: Final = "goshop"
# What the load generator is called beside the services.
LOAD_SERVICE: Final = "k6"

# --- names of our own -------------------------------------------------------------------------------------------------
INSTRUMENTATION_SCOPE: Final = "goshop.telemetry"
POOL_WAIT_SPAN: Final = "pool.acquire"
PASSWORD_SPAN: Final = "password.hash"  # noqa: S105 - a span name
PROVIDER_CHARGE_SPAN: Final = "provider.charge"
PROVIDER_STATUS_SPAN: Final = "provider.status"
PROVIDER_CANCEL_SPAN: Final = "provider.cancel"
PAYMENT_SYNC_SPAN: Final = "payment.synchronise"
SAGA_RESUME_SPAN: Final = "saga.resume"
