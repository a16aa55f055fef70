"""Stored files are read again: in several goes, and not too fast."""
