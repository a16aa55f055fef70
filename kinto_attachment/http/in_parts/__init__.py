"""Uploads in several requests: what both dialects share, and each of them."""
