"""Text of clients, files and stores, made fit for a terminal or a line of a log."""


def printable(text: str) -> str:
    """Without characters that a terminal would obey to, or that end a line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
