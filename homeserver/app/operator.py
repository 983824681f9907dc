"""What the operator orders on the command line: here where the server runs, or in the command itself."""

from homeserver.app.foundation import Foundation
from homeserver.services.accounts import Accounts
from homeserver.services.operator_access import OperatorAccess
from homeserver.services.operator_orders import OperatorOrders
from homeserver.services.server_notices import ServerNotices


def build_operator(base: Foundation, accounts: Accounts, notices: ServerNotices) -> OperatorOrders:
    """The orders."""
    return OperatorOrders(base.database, base.clock, base.randomness, accounts, notices, base.server_name)


def operator_access(base: Foundation) -> OperatorAccess:
    """Who may give them."""
    return OperatorAccess(base.signing_key, base.clock, base.server_name)
