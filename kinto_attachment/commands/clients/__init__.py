"""Commands that work over HTTP, on any machine: they need the extra ``sync``."""
