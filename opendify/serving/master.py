"""The master: takes new settings without risk, replaces workers without a gap, ends quickly when asked."""

import random
import signal
import time
from collections.abc import Callable
from typing import Any, cast

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from opendify.serving.leaving import is_leaving
from opendify.settings import SettingsError
from opendify.telemetry.instruments import RELOAD_SUCCESS, RELOAD_TIME

_QUICK_SECONDS = 5


class Master(Arbiter):
    """Gunicorn's arbiter, but for what would end or starve a service in mid-traffic.

    Gunicorn offers no way to choose this class, so `take_over` gives it to the
    arbiter that already is.
    """

    # The app's type is Gunicorn's own affair.
    _read_anew: Callable[[bool], Any]
    _on_refusal: Callable[[], None]

    @classmethod
    def take_over(
        cls, arbiter: Arbiter, read_anew: Callable[[bool], Any], on_refusal: Callable[[], None]
    ) -> None:
        """Make `arbiter` one of these.

        `read_anew` reads and checks all that the app is told, and makes an app from it
        when it gets True: where workers get one ready-made. `on_refusal` hears of settings
        that are wrong.
        """
        arbiter.__class__ = cls
        master = cast("Master", arbiter)
        master._read_anew = read_anew  # noqa: SLF001 - Its own.
        master._on_refusal = on_refusal  # noqa: SLF001 - Its own.

    def handle_hup(self) -> None:
        """Read the settings anew and give them to new workers; on a fault the old ones stay."""
        cfg, app = self.app.cfg, self.app.callable
        try:
            self._read_settings()
        except (SystemExit, SettingsError) as fault:
            self.app.cfg, self.app.callable = cfg, app
            RELOAD_SUCCESS.set(0)
            self._on_refusal()
            self._log.error("HUP changes nothing, and the workers stay: %s", _one_line(fault))
            return
        self.reload()

    def _read_settings(self) -> None:
        self.app.reload()  # Runs the configuration file.
        if self.app.cfg.address != self.cfg.address:
            raise SettingsError("SERVER_HOST and SERVER_PORT cannot change without a restart")
        self.app.callable = self._read_anew(self.app.cfg.preload_app)
        note_configuration_read()

    def reload(self) -> None:
        """As Gunicorn's, with settings that were read already, and without its wait for the old workers.

        In that wait it would hear no signal and replace no worker that dies.
        """
        old = list(self.WORKERS)
        self.setup(self.app)
        self._log.reopen_files()
        self.cfg.on_reload(self)
        for _ in range(self.cfg.workers):
            self.spawn_worker()
        for pid in old:
            self._dismiss(pid)

    def manage_workers(self) -> None:
        """Keep up the number of workers, not counting those that only end their last answers.

        One that leaves accepts no more; were it replaced only when it is gone, long
        streams could leave nobody to accept. Never more than twice as many exist.
        """
        by_age = sorted(self.WORKERS.items(), key=lambda entry: entry[1].age)
        leaving = [pid for pid, worker in by_age if not worker.alive or is_leaving(worker)]
        uncounted = set(leaving[: self.num_workers])
        serving = [pid for pid, _ in by_age if pid not in uncounted]
        for _ in range(self.num_workers - len(serving)):
            self.spawn_worker()
            time.sleep(0.1 * random.random())  # noqa: S311 - As Gunicorn does, so that they do not start at once.
        dismissed = [pid for pid, worker in by_age if not worker.alive]
        # Those again, since one that was still being made may not have heard.
        for pid in [*dismissed, *serving[: max(0, len(serving) - self.num_workers)]]:
            self._dismiss(pid)

    def _dismiss(self, pid: int) -> None:
        self.WORKERS[pid].alive = False  # In the master's own picture of it.
        self.kill_worker(pid, signal.SIGTERM)

    @property
    def _log(self) -> Logger:
        return cast("Logger", self.log)  # None only before `setup`.

    def stop(self, graceful: bool = True) -> None:
        """As Gunicorn's; but who asks for a quick end does not wait for the graceful one."""
        if not graceful:
            self.cfg.set("graceful_timeout", _QUICK_SECONDS)
        super().stop(graceful)


def note_configuration_read() -> None:
    """What the next workers are told is good."""
    RELOAD_SUCCESS.set(1)
    RELOAD_TIME.set(time.time())


def _one_line(fault: BaseException) -> str:
    if isinstance(fault, SystemExit) and not isinstance(fault.code, str):
        return "the lines above say why"
    return "; ".join(str(fault).splitlines())
