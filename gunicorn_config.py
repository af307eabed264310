"""Everything that Gunicorn is told; the scripts pass nothing that this file decides."""

import glob
import os
import sys
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from opendify import settings


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

if _server.worker_class == "gevent":
    # Before anything is imported that keeps what is patched. The master forks and reaps as ever.
    from gevent import monkey

    monkey.patch_all(os=False, signal=False)

from opendify.dify.concurrency import instance_file  # noqa: E402 - As above.
from opendify.serving import development, leaving, metrics_folder  # noqa: E402 - As above.
from opendify.serving.capacity import limit_chats, share_places  # noqa: E402 - As above.
from opendify.serving.housekeeping import begin_housekeeping, end_housekeeping  # noqa: E402 - As above.
from opendify.serving.master import Master, note_configuration_read  # noqa: E402 - As above.
from opendify.serving.server_log import JsonServerLog, ServerLog  # noqa: E402 - As above.
from opendify.serving.sharing import share_memory  # noqa: E402 - As above.
from opendify.serving.start import (  # noqa: E402 - As above.
    announce_server,
    audit_configuration,
    prepare_start,
    remove_drain_file,
)
from opendify.serving.workers import WorkerKit, warn_of_plain_workers, worker_class_for  # noqa: E402 - As above.
from opendify.telemetry.logs import configure_logging  # noqa: E402 - As above.

configure_logging(_server.log_level, _server.logs)
_kit = WorkerKit(_server)

# `main` is found from any folder, and it is ours wherever that is.
chdir = str(settings.PROJECT_FOLDER)
sys.path.insert(0, str(settings.SERVER_FOLDER))
bind = _bind_address(_server.host, _server.port)

workers = _server.workers
# The class is `sync`. As in Gunicorn itself, `sync` with more than one thread is served by a threaded worker:
# here by one of our own, which slow clients cannot hold.
worker_class = worker_class_for(_server)
threads = _server.threads
# Clients that are still sending their request, or are between two, hold a connection and no thread.
worker_connections = _server.threads + 256
worker_tmp_dir = _heartbeat_folder()

timeout = _server.timeout_seconds
graceful_timeout = _server.graceful_timeout_seconds
keepalive = _server.keepalive_seconds
max_requests = _server.max_requests
max_requests_jitter = _server.max_requests_jitter

reload = _server.reload
# Patterns, because Gunicorn refuses the name of a file that is not there; the code too, because
# Gunicorn itself watches only what could be imported.
_folder = glob.escape(str(settings.PROJECT_FOLDER))
reload_extra_files = [f"{_folder}/{each}" for each in (".env*", "main.p[y]", "opendify/**/*.py") if reload]
# Preloaded code would survive every reload.
preload_app = _server.environment == "production" and not _server.reload

# Several instances share one home, and the socket's default path lies there.
control_socket_disable = True

loglevel = _server.log_level
errorlog = "-"
logger_class = JsonServerLog if _server.logs.format == "json" else ServerLog
# The app writes one line a request, which costs less.
accesslog = "-" if _server.logs.access_log else None
# No query, which may hold a key: the path alone.
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s "%(a)s" %(D)sμs'


def on_starting(server: Arbiter) -> None:
    """Make the first keys, and refuse what could not work, before anybody asks."""
    prepare_start()
    warn_of_plain_workers(_server)
    # All workers must inherit one file.
    instance_file()
    remove_drain_file()
    if _server.metrics.enabled:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(
            metrics_folder.METRICS_FOLDER.open(metrics_folder.shared_memory())
        )
        metrics_folder.METRICS_FOLDER.join_as_master()
        note_configuration_read()
    audit = audit_configuration()
    Master.take_over(server, _read_anew, lambda: audit.note("configuration refused"))


def _read_anew(preloads: bool) -> Any:
    """Check what HUP gives to new workers, and make their app where they do not do it themselves."""
    prepare_start()
    audit_configuration()
    if not preloads:
        return None
    # By now it was imported; anywhere above, it would be before the settings are checked.
    from main import make_app

    return make_app()


def when_ready(server: Arbiter) -> None:
    """Say what is in force, whatever it was set by."""
    announce_server(server.cfg, _server.drain_seconds)


on_reload = when_ready


def pre_fork(_arbiter: Arbiter, worker: Worker) -> None:
    """Tell the worker what clients may do, and give it its place beside the others."""
    _kit.hand_out(worker)
    if preload_app:
        share_memory(worker)
    metrics_folder.METRICS_FOLDER.number(worker)


def post_fork(_server: Arbiter, worker: Worker) -> None:
    """Where nothing is preloaded, each worker loads the code as it is now."""
    leaving.hold_orders()
    if not worker.cfg.preload_app:
        development.load_afresh(worker)


def post_worker_init(worker: Worker) -> None:
    """Keep some threads free of chats, and tell the app how long its answers may go on at the end."""
    leaving.hear_orders()
    if development.shows_fault(worker):
        return
    metrics_folder.METRICS_FOLDER.join(worker)
    limit_chats(worker)
    share_places(worker, instance_file())
    leaving.prepare_to_leave(worker, _server.drain_seconds)
    begin_housekeeping(worker)


def worker_int(worker: Worker) -> None:
    """The worker is to end quickly."""
    leaving.leave_at_once(worker)


def worker_abort(worker: Worker) -> None:
    """The worker has hung for longer than its timeout."""
    leaving.leave_after_abort(worker)


def worker_exit(_server: Arbiter, worker: Worker) -> None:
    """The worker has ended but for what it left behind."""
    leaving.finish_leaving(worker)
    metrics_folder.METRICS_FOLDER.note_recycled(worker)
    end_housekeeping(worker)


def child_exit(_arbiter: Arbiter, worker: Worker) -> None:
    """Nobody waits for a worker that is gone to take a client, and nothing of it is in progress."""
    _kit.take_back(worker)
    metrics_folder.METRICS_FOLDER.bury(worker)


def on_exit(_server: Arbiter) -> None:
    """Nothing is left behind."""
    metrics_folder.METRICS_FOLDER.remove()
