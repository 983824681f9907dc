"""Which HTTP status an error has (client-server-api §Standard error response): only this file knows of both."""

from homeserver import errors
from homeserver.errors import MatrixError

# The most special class counts: a subclass that is not listed has its parent's status.
_STATUSES: dict[type[MatrixError], int] = {
    MatrixError: 400,
    errors.AlreadySettled: 409,
    errors.Forbidden: 403,
    errors.NotRecommended: 400,
    errors.NotFound: 404,
    errors.Unrecognized: 404,
    errors.MethodNotAllowed: 405,
    errors.TooLarge: 413,
    errors.RemoteTooLarge: 502,
    errors.MissingToken: 401,
    errors.UnknownToken: 401,
    errors.Unauthorized: 401,
    errors.InteractiveAuthRequired: 401,
    errors.UserLocked: 401,
    errors.UserDeactivated: 403,
    errors.UserSuspended: 403,
    errors.GuestAccessForbidden: 403,
    errors.ResourceLimitExceeded: 403,
    errors.UserLimitExceeded: 403,
    errors.InviteBlocked: 403,
    errors.CannotLeaveServerNoticeRoom: 403,
    errors.WrongRoomKeysVersion: 403,
    errors.ThreepidDenied: 403,
    errors.ThreepidAuthFailed: 403,
    errors.BadState: 403,
    errors.AliasExists: 409,
    errors.ConflictingUnsubscription: 409,
    errors.LimitExceeded: 429,
    errors.NotYetUploaded: 504,
    errors.CannotOverwriteMedia: 409,
    errors.BadGateway: 502,
    errors.BadStatus: 502,
    errors.ConnectionFailed: 502,
    errors.ConnectionTimeout: 504,
    errors.ThreepidNotFound: 404,
}

# What handlers may call a status that is not an error's.
NAMES: dict[str, int] = {
    "ok": 200,
    "created": 201,
    "accepted": 202,
    "no_content": 204,
    "partial_content": 206,
    "found": 302,
    "not_modified": 304,
    "temporary_redirect": 307,
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "range_not_satisfiable": 416,
    "internal_server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
}


def status_of(error: MatrixError) -> int:
    """The HTTP status of an error."""
    for kind in type(error).__mro__:
        status = _STATUSES.get(kind)
        if status is not None:
            return status
    return 500
