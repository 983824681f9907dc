"""E-mail addresses of accounts."""

from client_api.third_party_ids import ThirdPartyIdHandlers
from homeserver.web.endpoint import Auth, Endpoint, Handler

_ACCOUNT = "/_matrix/client/v3/account"


def _ask(operation_id: str, path: str, handler: Handler) -> Endpoint:
    """A row that makes the server send something to an address: as scarce as attempts to log in."""
    return Endpoint(
        operation_id,
        "POST",
        f"/_matrix/client/v3{path}/requestToken",
        handler,
        Auth.NONE,
        limit="login",
        body=operation_id,
    )


def _row(operation_id: str, path: str, handler: Handler, *, uia: bool = False) -> Endpoint:
    return Endpoint(operation_id, "POST", _ACCOUNT + path, handler, limit="login", body=operation_id, uia=uia)


_H = ThirdPartyIdHandlers

THIRD_PARTY_IDS: tuple[Endpoint, ...] = (
    _ask("requestTokenToRegisterEmail", "/register/email", _H.request_email_to_register),
    _ask("requestTokenToRegisterMSISDN", "/register/msisdn", _H.request_text_message),
    _ask("requestTokenTo3PIDEmail", "/account/3pid/email", _H.request_email_to_add),
    _ask("requestTokenTo3PIDMSISDN", "/account/3pid/msisdn", _H.request_text_message),
    _ask("requestTokenToResetPasswordEmail", "/account/password/email", _H.request_email_to_reset_password),
    _ask("requestTokenToResetPasswordMSISDN", "/account/password/msisdn", _H.request_text_message),
    Endpoint(
        "validateEmail", "GET", "/_matrix/client/unstable/email/validate", _H.validate, Auth.NONE, limit="login"
    ),
    Endpoint("getAccount3PIDs", "GET", f"{_ACCOUNT}/3pid", _H.listed),
    _row("post3PIDs", "/3pid", _H.add_with_identity_server),
    _row("add3PID", "/3pid/add", _H.add, uia=True),
    _row("bind3PID", "/3pid/bind", _H.bind),
    _row("unbind3pidFromAccount", "/3pid/unbind", _H.unbind),
    _row("delete3pidFromAccount", "/3pid/delete", _H.delete),
)
