"""Stores that are broken in one way each: the contract must catch every one of them."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

from kinto_attachment.storage import StoredFile
from tests.stores.memory import MemoryReader, MemoryStorage, MemoryWriter


class WriterOf(MemoryStorage):
    """A store with another writer."""

    writer: type[MemoryWriter]

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> MemoryWriter:
        return self.writer(self, self.checked(key))


class WritesOverFiles(MemoryStorage):
    def publish(self, key: str, content: bytes) -> None:
        self.kept[key] = (content, time.time())


class TakesTheSecondOfTwoWriters(WriterOf):
    """It looks whether the key is free when the writing starts, not when it ends."""

    class writer(MemoryWriter):
        def __init__(self, storage: MemoryStorage, key: str) -> None:
            super().__init__(storage, key)
            self.free = key not in storage.kept

        def close(self) -> None:
            if not self.free:
                raise FileExistsError(self.key)
            self.storage.kept[self.key] = (bytes(self.content), time.time())


class EmptiesTheFileThatItRefusesToReplace(WriterOf):
    class writer(MemoryWriter):
        def close(self) -> None:
            try:
                super().close()
            except FileExistsError:
                self.storage.kept[self.key] = (b"", time.time())
                raise


class PublishesTooEarly(WriterOf):
    class writer(MemoryWriter):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.storage.kept[self.key] = (bytes(self.content), time.time())

        def close(self) -> None:
            pass

        def abort(self) -> None:
            self.storage.kept.pop(self.key, None)


class KeepsAbortedFiles(WriterOf):
    class writer(MemoryWriter):
        def abort(self) -> None:
            with contextlib.suppress(FileExistsError):
                self.close()


class AbortsWhatIsPublished(WriterOf):
    class writer(MemoryWriter):
        def abort(self) -> None:
            self.storage.kept.pop(self.key, None)


class LosesTheLastPiece(WriterOf):
    class writer(MemoryWriter):
        last = b""

        def write(self, data: bytes) -> None:
            self.content += self.last
            self.last = data


class LosesAFilesEnd(WriterOf):
    """Whole parts only."""

    class writer(MemoryWriter):
        def close(self) -> None:
            part = 1024 * 1024
            if len(self.content) > part:
                del self.content[len(self.content) // part * part :]
            super().close()


class RefusesEmptyFiles(MemoryStorage):
    def publish(self, key: str, content: bytes) -> None:
        if content:
            super().publish(key, content)


class NamesFilesItself(WriterOf):
    """Under a name that no longer tells whose file it is."""

    class writer(MemoryWriter):
        def close(self) -> Any:
            self.key = f"file-{len(self.storage.kept)}"
            super().close()
            return self.key


class SharesOneBuffer(WriterOf):
    """Files that are written at the same time run together."""

    class writer(MemoryWriter):
        def __init__(self, storage: Any, key: str) -> None:
            super().__init__(storage, key)
            self.content = storage.__dict__.setdefault("shared", self.content)

        def close(self) -> None:
            super().close()
            self.content.clear()


class IgnoresRanges(MemoryStorage):
    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryReader:
        return super().open(key)


class CountsTheStopIn(MemoryStorage):
    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryReader:
        return super().open(key, start, None if stop is None else stop + 1)


class TakesZeroForNone(MemoryStorage):
    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryReader:
        return super().open(key, start, stop or None)


class OpensMissingFilesAsEmpty(MemoryStorage):
    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryReader:
        return super().open(key, start, stop) if key in self.kept else MemoryReader(b"")


class TellsOfMissingFilesTooLate(MemoryStorage):
    """The headers of a download would be out by then."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Any:
        self.checked(key)

        def chunks() -> Iterator[bytes]:
            yield from MemoryStorage.open(self, key, start, stop)

        return chunks()


class HasItsOwnErrors(MemoryStorage):
    def found(self, key: str) -> tuple[bytes, float]:
        return self.kept[self.checked(key)]


class ClosesOnce(MemoryStorage):
    class reader(MemoryReader):
        def close(self) -> None:
            del self.left

    def open(self, key: str, start: int = 0, stop: int | None = None) -> MemoryReader:
        return self.reader(super().open(key, start, stop).left)


class TellsAnotherSize(MemoryStorage):
    def stat(self, key: str) -> StoredFile:
        found = super().stat(key)
        return StoredFile(key, found.size + 1, found.modified)


class TellsTimeInMilliseconds(MemoryStorage):
    def stat(self, key: str) -> StoredFile:
        found = super().stat(key)
        return StoredFile(key, found.size, found.modified * 1000)


class FindsFilesByPrefix(MemoryStorage):
    def found(self, key: str) -> tuple[bytes, float]:
        return next((v for k, v in self.kept.items() if k.startswith(key)), None) or super().found(
            key
        )


class ListsOnePageOnly(MemoryStorage):
    def files(self) -> Iterator[StoredFile]:
        yield from list(super().files())[:10]


class ListsTwice(MemoryStorage):
    def files(self) -> Iterator[StoredFile]:
        yield from super().files()
        yield from super().files()


class DeletesByPrefix(MemoryStorage):
    def delete(self, filename: str) -> bool:
        doomed = [key for key in self.kept if key.startswith(self.checked(filename))]
        return [self.kept.pop(key) for key in doomed] != []


class RaisesForAMissingFile(MemoryStorage):
    def delete(self, filename: str) -> bool:
        self.found(filename)
        return super().delete(filename)


class DoesNotSayWhetherItDeleted(MemoryStorage):
    def delete(self, filename: str) -> Any:
        super().delete(filename)


class StopsDeletingAtAMissingFile(MemoryStorage):
    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            if not self.delete(key):
                return


class NeedsAListToDelete(MemoryStorage):
    def delete_many(self, keys: Iterable[str]) -> None:
        for _ in range(len(list(keys))):
            super().delete_many(keys)


class RemovesEverythingAsUnfinished(MemoryStorage):
    def remove_unfinished(self, before: float) -> int:
        self.kept.clear()
        return 0


class RemovesFilesUnderWay(WriterOf):
    class writer(MemoryWriter):
        def __init__(self, storage: Any, key: str) -> None:
            super().__init__(storage, key)
            storage.__dict__.setdefault("open_writers", []).append(self)

    def remove_unfinished(self, before: float) -> int:
        for writer in self.__dict__.get("open_writers", ()):
            writer.content.clear()
        return 0


class LeavesItsProbes(MemoryStorage):
    def probe(self) -> None:
        self.publish("probe", b"probe")


class TakesUnsafeKeys(MemoryStorage):
    def checked(self, key: str) -> str:
        return key


class DropsLettersThatAreNotAscii(MemoryStorage):
    def checked(self, key: str) -> str:
        return super().checked(key).encode("ascii", "ignore").decode()


class IgnoresCase(MemoryStorage):
    def checked(self, key: str) -> str:
        return super().checked(key).lower()


class QuotesKeys(MemoryStorage):
    def publish(self, key: str, content: bytes) -> None:
        super().publish(key.replace("%", "%25"), content)


class ConnectsWhenLookedAt(MemoryStorage):
    @property
    def client(self) -> Any:
        raise ConnectionError


class HasNoUrls(MemoryStorage):
    def url(self, filename: str) -> str:
        return "https://memory.example.org/"


class PresignsNothingUseful(MemoryStorage):
    def presigned_url(self, key: str, filename: str, mimetype: str, expires: int) -> str:
        return key


class CannotList(MemoryStorage):
    files = None  # type: ignore[assignment]


class IsNothingForPyramid:
    """A copy of the interface, without pyramid_storage's mark."""

    def __init__(self) -> None:
        self._inner = MemoryStorage()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)
