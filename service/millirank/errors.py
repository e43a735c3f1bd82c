"""What can go wrong, and the status that a client is told.

MillirankError                INTERNAL
├── InvalidRequest            INVALID_ARGUMENT     a field is wrong; names it
├── NotServedYet              UNIMPLEMENTED        a field of the contract that this version does not serve
├── Overloaded                RESOURCE_EXHAUSTED   could be met on an idle server, not now
├── DeadlineExceeded          DEADLINE_EXCEEDED    spent, or too short even for an idle server
├── Unavailable               UNAVAILABLE          starting or draining
├── CatalogError              offline              a catalogue or snapshot that cannot be used
└── ConfigError               offline              a setting that is wrong or unknown
"""

from typing import ClassVar


class MillirankError(Exception):
    """Anything that millirank says no to; the message names the fix."""

    status: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"  # google.rpc.ErrorInfo.reason


class InvalidRequest(MillirankError):
    """A field of the request is wrong."""

    status = "INVALID_ARGUMENT"
    reason = "INVALID_REQUEST"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotServedYet(MillirankError):
    """A field or method of the contract that this version does not serve."""

    status = "UNIMPLEMENTED"
    reason = "NOT_SERVED_YET"

    def __init__(self, field: str) -> None:
        super().__init__(f"{field} is not served by this version: leave it unset")
        self.field = field


class Overloaded(MillirankError):
    """More requests than can be served in time."""

    status = "RESOURCE_EXHAUSTED"
    reason = "OVERLOADED"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class DeadlineExceeded(MillirankError):
    """The deadline is spent, or too short even for an idle server."""

    status = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class Unavailable(MillirankError):
    """The server is starting or draining."""

    status = "UNAVAILABLE"
    reason = "NOT_SERVING"


class CatalogError(MillirankError):
    """A catalogue or snapshot that cannot be used."""


class ConfigError(MillirankError):
    """A setting that is wrong or unknown."""
