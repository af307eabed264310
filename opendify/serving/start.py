"""What the master checks, makes and says before it starts workers."""

import sys

from gunicorn.config import Config

from opendify import __version__
from opendify.access.keys import KeyRing
from opendify.access.opening import open_audit_log, open_configured_keys
from opendify.audit.log import AuditLog
from opendify.conversation_admin.administration import open_configured_answers
from opendify.serving.preflight import API_KEYS_NEEDED, require_keys, require_secret_key
from opendify.settings import Settings, SettingsError, load_settings
from opendify.settings.check import warn_of_unknown_names
from opendify.stores.base import StoreUnavailable
from opendify.stores.migrations import SchemaTooNew
from opendify.stores.opening import open_store


def prepare_start() -> None:
    """Make the first keys where none are configured, and look at the conversation store.

    Ends the process with one line where the service could not be called, or would
    run on a store of a newer release. A store that is down is no reason: chats go on
    with replay.
    """
    try:
        settings = load_settings()
        require_secret_key(settings)
        _announce_keys(settings)
        open_configured_answers(settings)
        _check_store(settings)
    except SettingsError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"DATA_DIR: the first API key cannot be written ({error.strerror}: {error.filename})")


def audit_configuration() -> AuditLog:
    """Note that a configuration is in force from now on; the log, for the next one."""
    settings = load_settings()
    log = open_audit_log(settings)
    facts = {"models": len(settings.models), "api_keys": len(settings.api_keys), "auth": _auth(settings)}
    log.note("configuration loaded", version=__version__, **facts)
    return log


def _auth(settings: Settings) -> str:
    # In development on loopback nobody needs a key, whatever the mode.
    return "open" if KeyRing(settings).is_open else settings.auth_mode


def remove_drain_file() -> None:
    """A start ends whatever draining the last end was prepared with."""
    path = load_settings().drain_path
    if path.exists():
        path.unlink()
        sys.stderr.write(f"{path} of an earlier run is removed: this one takes traffic\n")


def announce_server(cfg: Config, drain_seconds: float) -> None:
    """Say on one line what Gunicorn really uses, since its command line may overrule the settings."""
    facts = {
        "version": __version__,
        "address": ",".join(cfg.bind),
        "workers": cfg.workers,
        "worker": cfg.worker_class_str,
        "threads": cfg.threads,
        "preload": cfg.preload_app,
        "reload": cfg.reload,
        "timeout": cfg.timeout,
        "drain": drain_seconds,
        "graceful_timeout": cfg.graceful_timeout,
        "keepalive": cfg.keepalive,
        "max_requests": cfg.max_requests,
        "max_requests_jitter": cfg.max_requests_jitter,
        "log_level": cfg.loglevel,
    }
    shown = " ".join(f"{name}={str(value).lower()}" for name, value in facts.items())
    sys.stderr.write(f"OpenDify serves: {shown}\n")
    warn_of_unknown_names()


def _announce_keys(settings: Settings) -> None:
    require_keys(settings)
    if KeyRing(settings).needs_first_keys:
        _announce_first_keys(settings)
    elif KeyRing(settings).is_open:
        sys.stderr.write("Any key is accepted, and none\n")


def _announce_first_keys(settings: Settings) -> None:
    has_stored_keys = _may_have_stored_keys(settings)
    keys = KeyRing(settings, has_stored_keys=lambda: has_stored_keys)
    if keys.shares_its_store and not has_stored_keys:
        raise SettingsError(f"{API_KEYS_NEEDED}, or a key made with `opendify keys create`")
    files = [str(file) for file in keys.first_key_files()]
    if files and not has_stored_keys:
        ordinary, admin = files
        sys.stderr.write(f"No API_KEYS are set: clients use the key in {ordinary}, admins that in {admin}\n")
    elif files:
        sys.stderr.write(f"The keys of the first start are good too: {', '.join(files)}\n")


def _may_have_stored_keys(settings: Settings) -> bool:
    store = open_configured_keys(settings)
    if store is None:
        return False
    try:
        return any(not key.revoked_at for key in store.all())
    except SchemaTooNew as error:
        raise SettingsError(f"KEY_STORE: {error}") from None
    except StoreUnavailable:
        sys.stderr.write("The store of keys does not answer: nobody gets in until it does\n")
        return True
    finally:
        # Nothing that is open may cross the fork.
        store.close()


def _check_store(settings: Settings) -> None:
    try:
        store = open_store(settings.conversation_store_url, settings.data_dir)
    except ValueError as error:
        raise SettingsError(f"CONVERSATION_STORE_URL: {error}") from None
    try:
        store.ping()
    except SchemaTooNew as error:
        raise SettingsError(f"CONVERSATION_STORE_URL: {error}") from None
    except StoreUnavailable:
        sys.stderr.write("The conversation store does not answer: chats go on with replay until it does\n")
    finally:
        # Nothing that is open may cross the fork.
        store.close()
