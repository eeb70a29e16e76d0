"""Operators: the people who may open the dashboard."""

from collections.abc import Awaitable, Callable

from realtime_bridge.server.auth.application import ApplicationFunction
from realtime_bridge.server.auth.authenticator import Authenticator
from realtime_bridge.server.auth.principal import Principal
from realtime_bridge.server.http.origins import is_own_origin
from realtime_bridge.server.http.request import HTTPError, Request

OperatorRule = Callable[..., bool] | Callable[..., Awaitable[bool]]

_OWN_PAGES = ("none", "same-origin")
"""Values of `Sec-Fetch-Site` for an address that the operator typed, and for the page itself."""

_NO_DASHBOARD = (
    "A bridge runs here: `health` below this URL has its state, pages use `connect`. "
    "For a dashboard, use --dev or write a rule with @bridge.dashboard"
)


class Operators:
    """Decision who is an operator: no user by default, and everyone of a development server."""

    def __init__(self) -> None:
        self._rule: ApplicationFunction | None = None

    @property
    def has_rule(self) -> bool:
        """True if a rule names operators."""
        return self._rule is not None

    def set_rule(self, rule: OperatorRule) -> None:
        """Call `rule(user)` for each request; only True allows."""
        self._rule = ApplicationFunction(rule, "dashboard rule")

    async def require(self, authenticator: Authenticator, request: Request) -> None:
        """Check that a request comes from an operator.

        Raises:
            HTTPError: 404, the server has no dashboard; 401, the user is unknown; 403, the user is
                no operator, or the page may not connect; 500, the rule failed.

        """
        if authenticator.guard is None and self._rule is None:
            raise HTTPError(404, "no_dashboard", _NO_DASHBOARD)
        # A listed origin may connect, but not publish in the name of an operator who visits it.
        if not _is_own_page(request):
            raise HTTPError(403, "bad_origin", "Open the dashboard by its own address")
        if self._rule is None:
            # Each route of a development server is for this machine alone.
            authenticator.check_origin(request)
            return
        principal = await authenticator.identify(request)
        if await self._ask(self._rule, principal) is not True:
            message = f"{principal.user} may not open the dashboard: check its rule"
            raise HTTPError(403, "forbidden", message)

    @staticmethod
    async def _ask(rule: ApplicationFunction, principal: Principal) -> object:
        try:
            return await rule.call(principal.identity)
        except Exception as error:  # it was logged
            message = "The rule of the dashboard failed: try again"
            raise HTTPError(500, "rule_failed", message) from error


def _is_own_page(request: Request) -> bool:
    """Return whether a request comes from the dashboard itself, from an operator or a program."""
    source, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if source is not None or origin is None:
        return source in (None, *_OWN_PAGES)
    # Browsers send `Sec-Fetch-Site` to https and loopback alone (Fetch Metadata, section 2).
    return is_own_origin(origin, request.headers.get("host"))
