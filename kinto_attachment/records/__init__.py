"""Kinto's records: read, judged and written by Kinto itself."""
