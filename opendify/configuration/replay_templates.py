"""The wording around replayed texts, which an operator may put into a file of their own."""

from collections.abc import Mapping
from typing import Final

from opendify.configuration.readers import SettingsError, WrongValue, path, shown
from opendify.configuration.table_text import read_table_file

TEMPLATE_NAMES: Final = ("system", "history", "query")
"""Each holds `{text}`, in whose place the text goes."""
SPEAKER_NAMES: Final = ("user", "assistant", "tool", "omitted")


def read_replay_templates(text: str) -> Mapping[str, str]:
    """The wordings in the file that `text` names; those that are missing keep their defaults."""
    try:
        wordings = read_table_file(path(text), "REPLAY_TEMPLATE_FILE")
    except SettingsError as error:
        raise WrongValue(f"holds an error: {error.faults[0]}") from None
    if not isinstance(wordings, dict):
        raise WrongValue(f"must name a file with any of {', '.join((*TEMPLATE_NAMES, *SPEAKER_NAMES))}")
    for name, wording in wordings.items():
        if name not in (*TEMPLATE_NAMES, *SPEAKER_NAMES):
            raise WrongValue(f"has an unknown wording {shown(str(name))}")
        if not isinstance(wording, str) or (name in TEMPLATE_NAMES and "{text}" not in wording):
            raise WrongValue(f"needs text with {{text}} in it for `{name}`")
    return wordings
