"""How much a command may take away before somebody has to look."""

ALWAYS_ALLOWED = 100
"""What may go whatever its share is, as long as something else stays."""


class AboveCeiling(Exception):
    """More would go than was looked at and allowed; what went until then is gone."""

    def __init__(self, spent: int, allowed: int) -> None:
        super().__init__(
            f"Stopped: more would go than {allowed}, which were allowed when everything was"
            " looked at. Something changes while this command runs: see what, and run it again."
        )
        self.spent = spent


def exceeds(count: int, total: int, ceiling: float, always: int = ALWAYS_ALLOWED) -> bool:
    """Whether so much would go that a wrong database or store is more likely than a mess.

    :param ceiling: per cent of ``total``.
    :param always: what may go whatever its share is.
    """
    return 100 * count > ceiling * total and (count >= total or count > always)


class Ceiling:
    """Counts what goes.

    :param total: what there was when everything was looked at.
    :param found: what was to go then.
    """

    def __init__(self, total: int, ceiling: float, found: int) -> None:
        self._allowed = max(found, ALWAYS_ALLOWED, int(total * ceiling / 100))
        self._spent = 0

    def spend(self, count: int) -> None:
        """So many are about to go. Raises :class:`AboveCeiling` where that is too much."""
        self._spent += count
        if self._spent > self._allowed:
            raise AboveCeiling(self._spent, self._allowed)
