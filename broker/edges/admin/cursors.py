"""Where did the page before end? A cursor says it, sealed: nobody else makes one or reads it."""

from broker.edges.admin.operation import Asked
from broker.edges.admin.shapes import PagedQuery, Shape
from broker.errors import InvalidRequest
from broker.identity.seals import Sealer
from broker.model import Json

LIFETIME_S = 86_400


class Cursors:
    """Makes and reads the cursors of one list.

    Args:
        sealer: seals them.
        of: names the list.
    """

    def __init__(self, sealer: Sealer, of: str) -> None:
        self._sealer = sealer
        self._of = of

    def read(self, asked: Asked[PagedQuery, Shape]) -> Json | None:
        """Where to go on; None at the beginning.

        Raises:
            InvalidRequest: the cursor was not made by this broker for this list, its filters and this
                operator, or it has expired.
        """
        if asked.query.cursor is None:
            return None
        claims = self._sealer.open("cursor", asked.query.cursor)
        if claims.get("of") != self._list(asked):
            raise InvalidRequest("this cursor belongs to another list", hint="start again without it")
        return claims["at"]

    def make(self, asked: Asked[PagedQuery, Shape], at: Json) -> str:
        """The cursor of the page that begins after `at`."""
        return self._sealer.seal("cursor", {"of": self._list(asked), "at": at}, LIFETIME_S)

    def _list(self, asked: Asked[PagedQuery, Shape]) -> list[object]:
        filters = asked.query.model_dump(mode="json", exclude={"cursor", "limit"})
        return [self._of, asked.operator.id, dict(asked.path), filters]
