"""The metrics of HelloAgents: same names, labels and buckets, because the alert rules use them."""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # the client's own stubs

HTTP_REQUESTS = Counter(
    "http_requests_total", "HTTP requests answered.", ["method", "endpoint", "status_code"]
)
HTTP_DURATION = Histogram(
    "http_request_duration_seconds",
    "Time to answer an HTTP request.",
    ["method", "endpoint"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
HTTP_IN_PROGRESS = Gauge("http_requests_in_progress", "HTTP requests being answered.", ["method", "endpoint"])
SANDBOX_EXECUTIONS = Counter("sandbox_executions_total", "Code executions.", ["language", "status"])
SANDBOX_DURATION = Histogram(
    "sandbox_execution_duration_seconds",
    "Time to execute code.",
    ["language"],
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60),
)
SANDBOX_AVAILABLE = Gauge("sandbox_pool_available", "Free sandbox workers.")
SANDBOX_IN_USE = Gauge("sandbox_pool_in_use", "Busy sandbox workers.")
AI_REQUESTS = Counter("ai_chat_requests_total", "AI chat requests.", ["status"])
AI_DURATION = Histogram(
    "ai_chat_duration_seconds", "Time of an AI chat.", buckets=(0.5, 1, 2, 5, 10, 20, 30, 60)
)
AI_TOKENS = Counter("ai_chat_tokens_total", "AI tokens spent.", ["model"])
AI_ERRORS = Counter("ai_chat_errors_total", "AI chat failures.", ["error_type"])
DB_DURATION = Histogram(
    "db_query_duration_seconds",
    "Time of a database query.",
    ["operation"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)
DB_ACTIVE = Gauge("db_connections_active", "Connections checked out of the pool.")
DB_ERRORS = Counter("db_query_errors_total", "Failed database queries.", ["operation", "error_type"])
HEALTH = Gauge("app_health_status", "1 healthy, 0 not.", ["component"])
