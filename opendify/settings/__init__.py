"""What an operator can set, read from the environment and the project's `.env` file.

Adding a setting is one field with a description, and its line in `.env.example`. A room with several
has a module here with a class of its own, which is a `section` of `Settings`.
"""

from typing import Final

from opendify.configuration.cpus import default_workers, effective_cpus
from opendify.configuration.fields import SettingDoc, documented
from opendify.configuration.model_options import IntoInput, Placement
from opendify.configuration.model_table import AppMode, CitationStyle, DifyApp, Reasoning, Steps
from opendify.configuration.model_variables import MODEL_SETTINGS
from opendify.configuration.readers import PROJECT_FOLDER, SERVER_FOLDER, ApiKey, SettingsError
from opendify.settings.common import Environment, LogLevel
from opendify.settings.loading import (
    load_environment,
    load_server_settings,
    load_settings,
    models_are_configured,
    set_missing,
)
from opendify.settings.server import ServerSettings
from opendify.settings.service import DIFY_TRANSPORTS, AuthMode, DifyTransport, Settings

SETTINGS: Final[tuple[SettingDoc, ...]] = (*MODEL_SETTINGS, *documented(Settings, ServerSettings).values())

__all__ = [
    "DIFY_TRANSPORTS",
    "PROJECT_FOLDER",
    "SERVER_FOLDER",
    "SETTINGS",
    "ApiKey",
    "AppMode",
    "AuthMode",
    "CitationStyle",
    "DifyApp",
    "DifyTransport",
    "Environment",
    "IntoInput",
    "LogLevel",
    "Placement",
    "Reasoning",
    "ServerSettings",
    "SettingDoc",
    "Settings",
    "SettingsError",
    "Steps",
    "default_workers",
    "effective_cpus",
    "load_environment",
    "load_server_settings",
    "load_settings",
    "models_are_configured",
    "set_missing",
]
