"""A line between a client and a server, which breaks where a test says so."""

import contextlib
import socket
import threading
from collections.abc import Iterator

AT_ONCE = 16 * 1024


class Line:
    """What connections go through, byte by byte, until one is to break. Only one does: whoever
    comes again finds the line mended.
    """

    def __init__(self, server: str) -> None:
        host, _, port = server.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._left: int | None = None
        self._unanswered: tuple[bytes, int] | None = None
        self._breaks = 0
        self.origin = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"{self.origin}/v1"

    def break_after(self, size: int) -> None:
        """Cut the connection when clients have sent so many more bytes, headers included."""
        self._left, self._breaks = size, 0

    def lose_answer(self, method: str, number: int) -> None:
        """Have the server get the ``number``-th request of this method from now on, and the
        client not its answer."""
        self._unanswered, self._breaks = (f"{method} ".encode(), number), 0

    def was_broken(self) -> bool:
        """Whether it broke, once, as it was told last."""
        return self._breaks == 1

    def run(self) -> None:
        """Take in connections until the line is closed."""
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._open += [client, server]
            lost = threading.Event()
            for target, ends in ((self._there, (client, server)), (self._back, (server, client))):
                thread = threading.Thread(target=target, args=(*ends, lost), daemon=True)
                thread.start()
                self._threads.append(thread)

    def close(self) -> None:
        """End all connections."""
        for end in (self._listening, *self._open):
            _cut(end)
            end.close()
        for thread in self._threads:
            thread.join()

    def _there(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        for piece in _pieces(client):
            if self._unanswered and piece.startswith(self._unanswered[0]):
                method, number = self._unanswered
                self._unanswered = (method, number - 1) if number > 1 else None
                if number == 1:
                    lost.set()
            passes = len(piece) if self._left is None else min(self._left, len(piece))
            with contextlib.suppress(OSError):
                server.sendall(piece[:passes])
            if self._left is not None:
                self._left -= passes
            if passes < len(piece):
                self._left = None
                self._break(client, server)
        _cut(server)

    def _back(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        for piece in _pieces(server):
            if lost.is_set():
                self._break(client, server)
                return
            with contextlib.suppress(OSError):
                client.sendall(piece)
        _cut(client)

    def _break(self, *ends: socket.socket) -> None:
        self._breaks += 1
        for end in ends:
            _cut(end)


@contextlib.contextmanager
def line_to(server: str) -> Iterator[Line]:
    """A line to a server's origin, until the block ends."""
    line = Line(server)
    thread = threading.Thread(target=line.run)
    thread.start()
    try:
        yield line
    finally:
        line.close()
        thread.join()


def _pieces(end: socket.socket) -> Iterator[bytes]:
    """What comes, until there is no more of it."""
    with contextlib.suppress(OSError):
        while piece := end.recv(AT_ONCE):
            yield piece


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
