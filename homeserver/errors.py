"""What a service raises when a request cannot be granted: one exception class per Matrix errcode.

The classes know their `errcode` and nothing of HTTP: `homeserver.web.statuses` says which status each is answered with.
Standard error responses: https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
"""

from typing import Any, ClassVar


class MatrixError(Exception):
    """A refusal with an errcode, a text for people, and further fields for the response body.

    `extra` is merged into the body beside `errcode` and `error`: `raise Forbidden("…", retry_after_ms=100)`.
    """

    errcode: ClassVar[str] = "M_UNKNOWN"
    default_message: ClassVar[str] = "The request failed"

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        self.message = self.default_message if message is None else message
        self.extra: dict[str, Any] = extra
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The JSON object that the client is sent."""
        return {"errcode": self.errcode, "error": self.message, **self.extra}

    def __str__(self) -> str:
        return f"{self.errcode}: {self.message}"


class Unknown(MatrixError):
    """An error that no other code describes; the request itself was at fault."""

    errcode = "M_UNKNOWN"


class AlreadySettled(Unknown):
    """What the request would change was decided before, and otherwise."""


class Forbidden(MatrixError):
    """The user may not do this: not joined, wrong password, power too low…"""

    errcode = "M_FORBIDDEN"
    default_message = "You are not allowed to do this"


class NotRecommended(Forbidden):
    """The room's policy server does not want the event; where it said why, this is what it said."""

    default_message = "The room's policy server does not recommend the event"


class NotFound(MatrixError):
    """There is no such thing, or none that this user may know of."""

    errcode = "M_NOT_FOUND"
    default_message = "Not found"


class Unrecognized(MatrixError):
    """No such endpoint."""

    errcode = "M_UNRECOGNIZED"
    default_message = "Unrecognized request"


class MethodNotAllowed(MatrixError):
    """The endpoint exists, but not with this method."""

    errcode = "M_UNRECOGNIZED"
    default_message = "This method is not allowed here"


class BadJson(MatrixError):
    """The body is JSON, but not of the shape that was expected."""

    errcode = "M_BAD_JSON"
    default_message = "The JSON body has an unexpected shape"


class NotJson(MatrixError):
    """The body is not JSON."""

    errcode = "M_NOT_JSON"
    default_message = "The body is not valid JSON"


class MissingParam(MatrixError):
    """A required field or query parameter is absent."""

    errcode = "M_MISSING_PARAM"
    default_message = "A required parameter is missing"


class InvalidParam(MatrixError):
    """A field or parameter has a value that is not acceptable."""

    errcode = "M_INVALID_PARAM"
    default_message = "A parameter has an invalid value"


class TooLarge(MatrixError):
    """The request or the event is larger than allowed."""

    errcode = "M_TOO_LARGE"
    default_message = "The request is too large"


class MissingToken(MatrixError):
    """The endpoint needs an access token, and none was given."""

    errcode = "M_MISSING_TOKEN"
    default_message = "An access token is needed"


class UnknownToken(MatrixError):
    """The access token is not known, or no longer. `soft_logout`: the client may keep its device and log in again."""

    errcode = "M_UNKNOWN_TOKEN"
    default_message = "The access token is not recognised"

    def __init__(self, message: str | None = None, *, soft_logout: bool = False, **extra: Any) -> None:
        super().__init__(message, soft_logout=soft_logout, **extra)


class Unauthorized(MatrixError):
    """The request's signature could not be verified (server-server-api §Request Authentication)."""

    errcode = "M_UNAUTHORIZED"
    default_message = "The request could not be authenticated"


class CaptchaNeeded(Unauthorized):
    """A captcha has to be solved first."""

    errcode = "M_CAPTCHA_NEEDED"
    default_message = "The answer to the captcha is missing"


class CaptchaInvalid(Unauthorized):
    """The captcha was not solved."""

    errcode = "M_CAPTCHA_INVALID"
    default_message = "The captcha was not solved"


class LimitExceeded(MatrixError):
    """Too many requests; the client may try again after `retry_after_ms`."""

    errcode = "M_LIMIT_EXCEEDED"
    default_message = "Too many requests"

    def __init__(self, message: str | None = None, *, retry_after_ms: int | None = None, **extra: Any) -> None:
        if retry_after_ms is not None:
            extra["retry_after_ms"] = retry_after_ms
        super().__init__(message, **extra)
        self.retry_after_ms = retry_after_ms


class ResourceLimitExceeded(MatrixError):
    """The server's own limits (users, storage) are reached."""

    errcode = "M_RESOURCE_LIMIT_EXCEEDED"
    default_message = "The server has reached a limit"


class UserLimitExceeded(MatrixError):
    """The user has reached a limit of their own, and must free something first."""

    errcode = "M_USER_LIMIT_EXCEEDED"
    default_message = "You have reached a limit"


class UserInUse(MatrixError):
    """The user name is taken."""

    errcode = "M_USER_IN_USE"
    default_message = "That user name is taken"


class InvalidUsername(MatrixError):
    """The user name breaks the grammar of localparts."""

    errcode = "M_INVALID_USERNAME"
    default_message = "That user name is not valid"


class UserDeactivated(MatrixError):
    """The account was deactivated."""

    errcode = "M_USER_DEACTIVATED"
    default_message = "This account has been deactivated"


class UserLocked(MatrixError):
    """The account is locked; the client keeps its session (`soft_logout`)."""

    errcode = "M_USER_LOCKED"
    default_message = "This account has been locked"

    def __init__(self, message: str | None = None, *, soft_logout: bool = True, **extra: Any) -> None:
        super().__init__(message, soft_logout=soft_logout, **extra)


class UserSuspended(MatrixError):
    """The account is suspended: it may read and leave, not write."""

    errcode = "M_USER_SUSPENDED"
    default_message = "This account has been suspended"


class WeakPassword(MatrixError):
    """The password does not meet the server's rules."""

    errcode = "M_WEAK_PASSWORD"
    default_message = "The password is too weak"


class GuestAccessForbidden(MatrixError):
    """Guests may not do this, or not in this room."""

    errcode = "M_GUEST_ACCESS_FORBIDDEN"
    default_message = "Guests may not do this"


class Exclusive(MatrixError):
    """The name belongs to an application service, or lies outside of this one's namespaces."""

    errcode = "M_EXCLUSIVE"
    default_message = "This name is reserved by an application service"


class AppserviceLoginUnsupported(MatrixError):
    """The server cannot log the application service's user in this way."""

    errcode = "M_APPSERVICE_LOGIN_UNSUPPORTED"
    default_message = "Application services cannot log in this way"


class UrlNotSet(MatrixError):
    """The application service has no URL to reach it at."""

    errcode = "M_URL_NOT_SET"
    default_message = "The application service has no URL"


class ConnectionFailed(MatrixError):
    """The application service could not be reached."""

    errcode = "M_CONNECTION_FAILED"
    default_message = "The connection failed"


class ConnectionTimeout(MatrixError):
    """The application service did not answer in time."""

    errcode = "M_CONNECTION_TIMEOUT"
    default_message = "The connection timed out"


class BadStatus(MatrixError):
    """The application service answered with an error: `status` and `body` say which."""

    errcode = "M_BAD_STATUS"
    default_message = "The other side answered with an error"


class RoomInUse(MatrixError):
    """The room alias is taken."""

    errcode = "M_ROOM_IN_USE"
    default_message = "That room alias is taken"


class AliasExists(RoomInUse):
    """As `RoomInUse`, where an alias is made for a room that exists: that endpoint has no errcode of its own for it."""

    errcode = "M_UNKNOWN"


class InvalidRoomState(MatrixError):
    """The initial state of a new room contradicts itself."""

    errcode = "M_INVALID_ROOM_STATE"
    default_message = "The state of the room would be invalid"


class UnsupportedRoomVersion(MatrixError):
    """This server does not know the room version."""

    errcode = "M_UNSUPPORTED_ROOM_VERSION"
    default_message = "This room version is not supported"


class IncompatibleRoomVersion(MatrixError):
    """The other server does not support the version of the room (server-server-api §Joining Rooms)."""

    errcode = "M_INCOMPATIBLE_ROOM_VERSION"
    default_message = "The room has a version that your server does not support"

    def __init__(self, message: str | None = None, *, room_version: str, **extra: Any) -> None:
        super().__init__(message, room_version=room_version, **extra)


class UnableToAuthorizeJoin(MatrixError):
    """This server cannot tell whether the user meets the conditions of a restricted room."""

    errcode = "M_UNABLE_TO_AUTHORISE_JOIN"
    default_message = "This server cannot tell whether the conditions of the room are met"


class UnableToGrantJoin(MatrixError):
    """The user meets the conditions, but nobody on this server has the power to let them in."""

    errcode = "M_UNABLE_TO_GRANT_JOIN"
    default_message = "Nobody on this server has the power to let the user in"


class CannotLeaveServerNoticeRoom(MatrixError):
    """The room of server notices cannot be left."""

    errcode = "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM"
    default_message = "The room of server notices cannot be left"


class InviteBlocked(MatrixError):
    """The invited user does not want invites from this sender."""

    errcode = "M_INVITE_BLOCKED"
    default_message = "The user does not accept this invite"


class BadState(MatrixError):
    """The state change is not possible now, such as unbanning somebody who is not banned."""

    errcode = "M_BAD_STATE"
    default_message = "This is not possible in the present state"


class BadAlias(MatrixError):
    """The canonical alias event names an alias that does not point to the room."""

    errcode = "M_BAD_ALIAS"
    default_message = "An alias does not point to this room"


class DuplicateAnnotation(MatrixError):
    """The same sender already reacted with the same key."""

    errcode = "M_DUPLICATE_ANNOTATION"
    default_message = "You have already sent this reaction"


class NotInThread(MatrixError):
    """The event that is given as the reason for following a thread is not in the thread (proposal 4306)."""

    errcode = "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD"
    default_message = "The event is not in the thread"


class ConflictingUnsubscription(MatrixError):
    """The user left the thread after the event for which a client would follow it (proposal 4306)."""

    errcode = "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION"
    default_message = "You left the thread after this event"


class NotYetUploaded(MatrixError):
    """The media id was created, but nothing has been uploaded to it yet."""

    errcode = "M_NOT_YET_UPLOADED"
    default_message = "The media has not been uploaded yet"


class CannotOverwriteMedia(MatrixError):
    """There is media under this id already."""

    errcode = "M_CANNOT_OVERWRITE_MEDIA"
    default_message = "Media cannot be overwritten"


class RemoteTooLarge(TooLarge):
    """Media of another server is larger than this server is willing to fetch."""

    default_message = "The remote media is too large"


class BadGateway(MatrixError):
    """Another server answered with nonsense, or not at all."""

    errcode = "M_UNKNOWN"
    default_message = "The other server could not be reached"


class UnknownDevice(MatrixError):
    """The device is not known (application services that masquerade as one)."""

    errcode = "M_UNKNOWN_DEVICE"
    default_message = "Unknown device"


class InvalidSignature(MatrixError):
    """A signature on uploaded keys is wrong."""

    errcode = "M_INVALID_SIGNATURE"
    default_message = "A signature is invalid"


class WrongRoomKeysVersion(MatrixError):
    """The key backup named is not the current one."""

    errcode = "M_WRONG_ROOM_KEYS_VERSION"
    default_message = "This is not the current version of the key backup"

    def __init__(self, message: str | None = None, *, current_version: str, **extra: Any) -> None:
        super().__init__(message, current_version=current_version, **extra)


class ProfileTooLarge(MatrixError):
    """The profile would grow over the 64 KiB that are allowed."""

    errcode = "M_PROFILE_TOO_LARGE"
    default_message = "The profile is too large"


class KeyTooLarge(MatrixError):
    """The name of a profile field is over 255 bytes."""

    errcode = "M_KEY_TOO_LARGE"
    default_message = "The name of the profile field is too long"


class UnknownPos(MatrixError):
    """The sliding sync position is not known any more; the client starts the connection again (MSC4186)."""

    errcode = "M_UNKNOWN_POS"
    default_message = "The position is not known any more"


class ServerNotTrusted(MatrixError):
    """The named server is not one that this server relies on."""

    errcode = "M_SERVER_NOT_TRUSTED"
    default_message = "The server is not trusted"


class ThreepidInUse(MatrixError):
    """The third-party identifier belongs to another account."""

    errcode = "M_THREEPID_IN_USE"
    default_message = "The address is already in use"


class ThreepidNotFound(MatrixError):
    """No account has this third-party identifier."""

    errcode = "M_THREEPID_NOT_FOUND"
    default_message = "The address is not known"


class ThreepidDenied(MatrixError):
    """The server does not allow this third-party identifier."""

    errcode = "M_THREEPID_DENIED"
    default_message = "The address is not allowed here"


class ThreepidAuthFailed(MatrixError):
    """The third-party identifier could not be verified."""

    errcode = "M_THREEPID_AUTH_FAILED"
    default_message = "The address could not be verified"


class ThreepidMediumNotSupported(MatrixError):
    """The server does not deal in this kind of identifier."""

    errcode = "M_THREEPID_MEDIUM_NOT_SUPPORTED"
    default_message = "This kind of address is not supported"


class InteractiveAuthRequired(MatrixError):
    """User-interactive authentication has to go on: `auth_body` holds session, flows, params and completed stages.

    It carries an `errcode` only where a stage was tried and failed, and then the body brings it along
    (https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api).
    """

    errcode = "M_FORBIDDEN"
    default_message = "Further authentication is needed"

    def __init__(self, auth_body: dict[str, Any]) -> None:
        super().__init__()
        self.auth_body = auth_body

    def body(self) -> dict[str, Any]:
        """The flows and the session, as they are."""
        return self.auth_body
