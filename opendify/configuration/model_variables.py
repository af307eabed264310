"""The variables that give the models: the table, its file, and the server that most of them live on."""

from collections.abc import Mapping
from typing import Final

from opendify.configuration.fields import SettingDoc, find_variable
from opendify.configuration.model_table import DifyApp, read_models
from opendify.configuration.readers import SettingsError, WrongValue, api_base, path
from opendify.configuration.table_text import parse_table_text, read_table_file

MODEL_SETTINGS: Final = (
    SettingDoc(
        name="DIFY_API_BASE",
        description="The address of the Dify server's API, such as `https://api.dify.ai/v1`; required unless "
        "every model has its own `api_base`.",
    ),
    SettingDoc(
        name="MODEL_CONFIG",
        description="The models on one line of JSON: model name to app key, or to an object of options.",
    ),
    SettingDoc(
        name="MODEL_CONFIG_FILE",
        description="A JSON, YAML or TOML file with the same table, instead of `MODEL_CONFIG`.",
    ),
)


PASSED_MODEL: Final = "dify"
"""What an app is called that answers for its own key."""


def read_passed_app(environ: Mapping[str, str]) -> DifyApp:
    """What all apps have in common that answer for their own keys.

    Raises:
        SettingsError: Nobody says where they are.
    """
    base = _default_api_base(environ)
    if base is None:
        raise SettingsError("AUTH_MODE: passthrough needs DIFY_API_BASE, where the keys are good")
    return DifyApp(name=PASSED_MODEL, api_key="", api_base=base)


def read_model_table(environ: Mapping[str, str], *, may_be_missing: bool = False) -> tuple[DifyApp, ...]:
    """Read the models from whichever of the variables is set.

    Raises:
        SettingsError: With one line for each fault.
    """
    default_api_base = _default_api_base(environ)
    text = find_variable("MODEL_CONFIG", environ)
    file = find_variable("MODEL_CONFIG_FILE", environ)
    if text and file:
        raise SettingsError("MODEL_CONFIG and MODEL_CONFIG_FILE are both set; keep one")
    if text:
        return read_models(parse_table_text(text, "MODEL_CONFIG"), "MODEL_CONFIG", default_api_base)
    if file:
        return read_models(_read_table_file(file), "MODEL_CONFIG_FILE", default_api_base)
    if may_be_missing:
        return ()
    raise SettingsError(
        'MODEL_CONFIG is not set; it needs at least one model, such as {"translator": "app-..."}'
    )


def _default_api_base(environ: Mapping[str, str]) -> str | None:
    text = find_variable("DIFY_API_BASE", environ)
    try:
        return api_base(text) if text else None
    except WrongValue as error:
        raise SettingsError(f"DIFY_API_BASE {error}") from None


def _read_table_file(file: str) -> object:
    try:
        return read_table_file(path(file), "MODEL_CONFIG_FILE")
    except WrongValue as error:
        raise SettingsError(f"MODEL_CONFIG_FILE {error}") from None
