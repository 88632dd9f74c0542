"""How the log of a service writes that PostgreSQL refuses it: SQLSTATEs and classes, in no human language."""

import re

from runbooklib.checks.registry import log_pattern

# SQLSTATE -> the names of its exception classes: asyncpg, then psycopg and Ruby's pg.
_CLASSES = {
    "28P01": ("InvalidPasswordError", "InvalidPassword"),
    "28000": ("InvalidAuthorizationSpecificationError", "InvalidAuthorizationSpecification"),
    "3D000": ("InvalidCatalogNameError", "InvalidCatalogName"),
    "53300": ("TooManyConnectionsError", "TooManyConnections"),
    "57P03": ("CannotConnectNowError", "CannotConnectNow"),
    "08004": ("ConnectionRejectionError", "SqlserverRejectedEstablishmentOfSqlconnection"),
    "08001": ("ClientCannotConnectError", "SqlclientUnableToEstablishSqlconnection"),
    "08006": ("ConnectionFailureError", "ConnectionFailure"),
}
REFUSALS = ("28P01", "28000", "3D000", "53300", "57P03", "08004")
# No answer that the server gave: the service has no connection, or lost it.
_NO_CONNECTION = ("08001", "08006")
# An application may have an exception of its own with these names, so the driver's package must be there.
_AMBIGUOUS = frozenset(("InvalidPasswordError", "ConnectionFailureError", "ConnectionRejectionError"))
_PACKAGE = r"(?:asyncpg(?:\.\w+)*\.|psycopg2?\.errors\.|PG::)"
# A number of five digits is an SQLSTATE only beside one of these. {code} is replaced.
_CONTEXTS = (
    r"(?i:sql[ _-]?state|pg_?code)\W{1,8}E?{code}\b",  # JDBC, Hibernate, Spring, pgx, PDO, tokio-postgres
    r"""\bcode\\?["']?\s{0,3}[:=]\s{0,3}\\?["']{code}\\?["']""",  # node-postgres, sqlx
    r"\b(?:pq|PgException): [^\n]{0,400}[(]{code}[)]",  # lib/pq, Vert.x
    r"\bPostgresException\b[^\n]{0,40}: {code}: ",  # Npgsql
    r":  {code}: ",  # libpq with VERBOSITY=verbose; the word before it is translated
    r"(?i:\br2dbc\b)[^\n]{0,200}\[{code}\] ",
    r"\b[A-Z]{5} {code} [(][a-z_]{1,80}[)]",  # Postgrex
)


def _expression(codes: tuple[str, ...]) -> str:
    code = f"(?:{'|'.join(codes)})"
    parts = [context.replace("{code}", code) for context in _CONTEXTS]
    # These are so rare in other texts that they need no context.
    parts += [rf"(?<![\w.-])E?{plain}(?![\w.-])" for plain in codes if plain in ("28P01", "57P03")]
    for name in [name for item in codes for name in _CLASSES[item]]:
        is_clear = name.endswith("Error") and name not in _AMBIGUOUS
        parts.append(rf"\b{name}\b" if is_clear else rf"\b{_PACKAGE}{name}\b")
    return "|".join(parts)


# For a connection that fails, psycopg gives no SQLSTATE; its other errors have classes of their own. Other
# drivers name an errno or a step of the network, and the address, if the server does not answer.
_NO_ANSWER = (
    r"\bpsycopg2?\.OperationalError\b",
    r"\bECONNREFUSED\b[^\n]{0,80}\b5432\b",  # node-postgres
    r"\[Errno 111\][^\n]{0,120}\b5432\b",  # asyncpg
    r"\bdial tcp \S{1,120}:5432\b",  # lib/pq, pgx
)
DATABASE_REFUSES = log_pattern("DATABASE_REFUSES", _expression(REFUSALS))
DATABASE_LOST = log_pattern("DATABASE_LOST", "|".join((_expression(_NO_CONNECTION), *_NO_ANSWER)))


def sqlstate_in(line: str) -> str:
    """The first SQLSTATE of `DATABASE_REFUSES` or `DATABASE_LOST` in a line that matches; "" for none."""
    match = re.search(DATABASE_REFUSES, line) or re.search(DATABASE_LOST, line)
    if match is None:
        return ""
    text = match[0]
    by_code = next((code for code in _CLASSES if code in text), "")
    by_class = [code for code, names in _CLASSES.items() if any(name in text for name in names)]
    return by_code or (by_class[0] if by_class else "")
