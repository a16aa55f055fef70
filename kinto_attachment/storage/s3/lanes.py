"""How many parts of a file are on their way to S3 at once."""


class Lanes:
    """How many parts of a file may be under way: as many as the line to S3 bears.

    They share it, and each of them has to be there within the time-out: on a slow line eight
    would all be too late where one is in time. All uploads to a store learn from each other.

    :param most: parts.
    :param timeout: seconds that one request may take.
    """

    def __init__(self, most: int, timeout: float) -> None:
        self.most = most
        self._timeout = timeout
        self.now = 1

    def took(self, seconds: float) -> None:
        """One part has arrived after so many seconds."""
        if seconds < self._timeout / 8:
            self.now = min(self.now + 1, self.most)
        elif seconds > self._timeout / 3:
            self.now = max(self.now // 2, 1)
