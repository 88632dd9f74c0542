"""A SourceError as the fields that are recorded, and back."""

from runbooklib import errors
from runbooklib.errors import NonsenseError, SourceError


def error_as_dict(error: SourceError) -> dict[str, str]:
    """The fields of the error, for `error_of`."""
    stored = {"type": type(error).__name__, "message": error.message, "system": error.system}
    return stored | {"target": error.target, "remedy": error.hint, "code": getattr(error, "code", "")}


def error_of(stored: dict[str, str]) -> SourceError:
    """The reverse of `error_as_dict`. An unknown type is a NonsenseError."""
    about = {"system": stored["system"], "target": stored["target"], "hint": stored["remedy"]}
    kind = getattr(errors, stored["type"], NonsenseError)
    if kind in (errors.RefusedError, errors.UnreachableError):
        about["code"] = stored.get("code", "")
    error: SourceError = kind(stored["message"], **about)
    return error
