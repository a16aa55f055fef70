"""What can go wrong with a store. The messages are for the log, never for the client."""


class StoreError(Exception):
    """The store failed. The message is for the log, never for the client.

    :ivar key: of the file that it is about, where one is known.
    """

    key: str | None = None


class StoreFull(StoreError):
    """The store has no space, or no quota, left."""


class StoreUnavailable(StoreError):
    """The store can't be reached, or refuses to work."""


class StoreSilent(StoreUnavailable):
    """The store did not answer in time. Whatever is asked next may take as long again, so
    nothing is: what the store may have kept is left to gc."""


class UnsafeKey(ValueError):
    """A key that could leave the store was refused before anything was touched."""


class UploadGone(Exception):
    """The store knows nothing of an unfinished upload, and never will again: it expired, or was
    discarded. The client has to begin anew."""


class OffsetDiffers(Exception):
    """Bytes were sent for another place than the one at which the upload goes on.

    :ivar offset: where it goes on.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload goes on at {offset}")
        self.offset = offset


class Superseded(Exception):
    """Another request has taken the upload over: this one may not write any more."""
