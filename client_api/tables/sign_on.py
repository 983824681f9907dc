"""Single sign-on, pages of user-interactive authentication, links in mails: what people's browsers ask for."""

from client_api.auth_pages import AuthPageHandlers
from client_api.single_sign_on import BASE, SingleSignOnHandlers
from client_api.unsubscribing import UnsubscribeHandlers
from homeserver.web.endpoint import Auth, Endpoint, Handler


def _page(operation_id: str, method: str, path: str, handler: Handler) -> Endpoint:
    """Browsers have no access token; forms are read by the handler."""
    return Endpoint(operation_id, method, path, handler, Auth.NONE, limit="login", stream=method == "POST")


_SSO = SingleSignOnHandlers
_UNSUBSCRIBE = "/_matrix/client/unstable/pushers/unsubscribe"
_FALLBACK = "/_matrix/client/v3/auth/{authType}/fallback/web"

SIGN_ON: tuple[Endpoint, ...] = (
    _page("redirectToSSO", "GET", "/_matrix/client/v3/login/sso/redirect", _SSO.redirect),
    _page("redirectToIdP", "GET", "/_matrix/client/v3/login/sso/redirect/{idpId}", _SSO.redirect),
    _page("ssoCallback", "GET", f"{BASE}/callback", _SSO.callback),
    _page("ssoAuthenticate", "GET", f"{BASE}/authenticate", _SSO.authenticate),
    _page("ssoNamePage", "GET", f"{BASE}/name", _SSO.name_page),
    _page("ssoChooseName", "POST", f"{BASE}/name", _SSO.choose_name),
    _page("ssoConfirmationPage", "GET", f"{BASE}/confirm", _SSO.confirmation_page),
    _page("ssoConfirm", "POST", f"{BASE}/confirm", _SSO.confirm),
    _page("ssoApprovalPage", "GET", f"{BASE}/approve", _SSO.approval_page),
    _page("ssoApprove", "POST", f"{BASE}/approve", _SSO.approve),
    _page("authFallbackPage", "GET", _FALLBACK, AuthPageHandlers.show),
    _page("authFallback", "POST", _FALLBACK, AuthPageHandlers.complete),
    _page("unsubscribePage", "GET", _UNSUBSCRIBE, UnsubscribeHandlers.ask),
    _page("unsubscribe", "POST", _UNSUBSCRIBE, UnsubscribeHandlers.unsubscribe),
)
