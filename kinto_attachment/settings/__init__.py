"""The settings: all of them (table), how they are read, and what is in force (policy)."""

from kinto_attachment.settings.policy import Policy, Settings
from kinto_attachment.settings.reading import parse
from kinto_attachment.settings.wrong_lines import PREFIX

__all__ = ["PREFIX", "Policy", "Settings", "parse"]
