"""For tools that know no pyproject.toml, which has everything that there is to say."""

from setuptools import setup

setup()
