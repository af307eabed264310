"""Wiring: the WSGI app for Gunicorn (`main:app`), and a server for debugging (`python main.py`)."""

import sys

from opendify.app import create_app
from opendify.settings import SettingsError, load_settings
from opendify.telemetry.logs import configure_logging

try:
    settings = load_settings()
    configure_logging(settings.log_level)
    app = application = create_app(settings)
except SettingsError as error:
    sys.exit(str(error))

if __name__ == "__main__":
    from opendify.settings import load_server_settings

    server = load_server_settings()
    sys.stderr.write("This server is for debugging only; ./start_production.sh is for everything else.\n")
    app.run(server.host, server.port, threaded=True)
