"""Wiring: the WSGI app for Gunicorn (`main:app`), and a server for debugging (`python main.py`)."""

import logging
import sys

import flask

from opendify.app import create_app
from opendify.settings import SettingsError, load_server_settings, load_settings
from opendify.telemetry.logs import configure_logging
from opendify.telemetry.sentry import Reporter, ReportHandler


def make_app() -> flask.Flask:
    """The app with the settings as they are now.

    Raises:
        SettingsError: They are wrong.
    """
    settings = load_settings()
    made = create_app(settings)
    configure_logging(settings.log_level, settings.logs)
    if settings.sentry.dsn:
        logging.getLogger().addHandler(ReportHandler(Reporter(settings.sentry, settings.environment)))
    return made


try:
    app = application = make_app()
except SettingsError as error:
    sys.exit(str(error))

if __name__ == "__main__":
    server = load_server_settings()
    sys.stderr.write("This server is for debugging only; ./start_production.sh is for everything else.\n")
    app.run(server.host, server.port, threaded=True)
