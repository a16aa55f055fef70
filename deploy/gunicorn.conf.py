"""How gunicorn runs Kinto: gunicorn --config gunicorn.conf.py --paste kinto.ini

What it is made for, and what it was measured to do: docs/operate/production.rst.
"""

import os
import shutil
import tempfile

# Each process counts for itself. Here they write it down for the one that Prometheus happens to
# ask. Only gunicorn may know of the folder: Kinto empties it whenever it is loaded, and so would
# `kinto-attachment gc` do.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", tempfile.mkdtemp(prefix="kinto-metrics-"))
# So Kinto is loaded once, before the processes part. A new kinto.ini therefore needs a restart.
preload_app = True

bind = os.environ.get("KINTO_BIND", "127.0.0.1:8888")

# A process for each core, since Python computes on one at a time; but no more than four unasked:
# each of their threads may hold one of PostgreSQL's connections, of which there are 100.
# WEB_CONCURRENCY is gunicorn's own variable for it.
workers = int(os.environ.get("WEB_CONCURRENCY", min(os.cpu_count() or 1, 4)))
# Threads wait for the database and the store. nginx waits for the clients, so there need not be
# a thread for each of them.
worker_class = "gthread"
threads = 16

# Longer than nginx keeps its connections, so that it is nginx that hangs up.
keepalive = 75
# With threads it does not end long requests: a process that says nothing for so long is replaced.
timeout = 60
# Uploads that are in when the server is told to stop are stored in this time.
graceful_timeout = 60
# Its sign of life is a file: on a disk under load that may take longer than the timeout.
worker_tmp_dir = "/dev/shm"  # noqa: S108
# Nothing but signals steers it.
control_socket_disable = True


def child_exit(server, worker):
    """What a process that is gone has counted stays; what it was doing does not."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server):
    """Leave nothing behind."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
