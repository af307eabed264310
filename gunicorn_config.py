"""Everything that Gunicorn is told; the scripts pass nothing that this file decides."""

import glob
import os
import sys

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from opendify import settings
from opendify.dify.concurrency import instance_file
from opendify.serving.capacity import limit_chats
from opendify.serving.start import prepare_start


def _read_server_settings() -> settings.ServerSettings:
    try:
        return settings.load_server_settings()
    except settings.SettingsError as error:
        # Gunicorn prints a traceback for any exception of a configuration file but this one.
        sys.exit(str(error))


def _bind_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _heartbeat_folder() -> str | None:
    # A heartbeat file on a busy disk can block a worker for longer than its timeout.
    shared_memory = "/dev/shm"  # noqa: S108 - Gunicorn unlinks its file as soon as it is open.
    return shared_memory if os.access(shared_memory, os.W_OK) else None


_server = _read_server_settings()

# `main` is found from any folder.
chdir = str(settings.PROJECT_FOLDER)
bind = _bind_address(_server.host, _server.port)

workers = _server.workers
# With more than one thread Gunicorn itself turns `sync` into its threaded worker.
worker_class = _server.worker_class
threads = _server.threads
# A worker with no thread to spare must leave new connections to the others, and still keep a few alive.
worker_connections = _server.threads + 16
worker_tmp_dir = _heartbeat_folder()

timeout = _server.timeout_seconds
graceful_timeout = _server.graceful_timeout_seconds
keepalive = _server.keepalive_seconds
max_requests = _server.max_requests
max_requests_jitter = _server.max_requests_jitter

reload = _server.reload
# A pattern, because Gunicorn refuses the name of a file that is not there.
reload_extra_files = [glob.escape(str(settings.PROJECT_FOLDER)) + "/.env*"] if _server.reload else []
# Preloaded code would survive every reload.
preload_app = _server.environment == "production" and not _server.reload

# Several instances share one home, and the socket's default path lies there.
control_socket_disable = True

loglevel = _server.log_level
errorlog = "-"
# The app writes one line a request; `--access-logfile -` adds Gunicorn's own.
accesslog = None


def on_starting(_server: Arbiter) -> None:
    """Make the first keys, and refuse what could not work, before anybody asks."""
    prepare_start()
    # All workers must inherit one file.
    instance_file()


def post_worker_init(worker: Worker) -> None:
    """Keep some threads of each worker free of chats."""
    limit_chats(worker)
