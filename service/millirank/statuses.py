"""How a call ends badly: the one place where an exception becomes a gRPC status with google.rpc details."""

import logging
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from .errors import DeadlineExceeded, InvalidRequest, MillirankError, NotServedYet, Overloaded
from .v1 import search_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

DOMAIN = "millirank"  # of google.rpc.ErrorInfo
Context = grpc.aio.ServicerContext[bytes, Any]
log = logging.getLogger(__name__)


async def abort(context: Context, error: Exception) -> NoReturn:
    """Ends a call with the status that belongs to an exception, and google.rpc details: always ErrorInfo."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    known = _logged(error)
    code = grpc.StatusCode[known.status]
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN)]
    if isinstance(known, NotServedYet):
        details[0] = error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN, metadata={"field": known.field})
    if isinstance(known, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=known.field, description=known.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(known, Overloaded):
        wait = Duration()
        wait.FromMilliseconds(max(1, round(known.retry_after * 1e3)))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    status = status_pb2.Status(code=code.value[0], message=str(known))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort(code, str(known), (("grpc-status-details-bin", status.SerializeToString()),))


def known_error(error: Exception) -> MillirankError:
    """The error itself, or an INTERNAL one that tells a client nothing of an exception that we did not foresee."""
    if isinstance(error, MillirankError) and error.status != "INTERNAL":
        return error
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("the client does not read its answer: read it, or cancel the call")
    return MillirankError("the query could not be answered: the server's log says why")


def query_error(error: Exception) -> search_pb2.QueryError:
    """What a batch tells of one query that failed."""
    known = _logged(error)
    return search_pb2.QueryError(code=grpc.StatusCode[known.status].value[0], message=str(known), reason=known.reason)


def _logged(error: Exception) -> MillirankError:
    known = known_error(error)
    if known.status == "INTERNAL":
        log.error("a query failed", exc_info=error)
    return known
