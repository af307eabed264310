"""Tables in YAML; see `table_text`."""

from collections.abc import Hashable

import yaml

from opendify.configuration.readers import SettingsError
from opendify.configuration.table_text import refuse_repeats


def parse_yaml(text: str, source: str) -> object:
    """Parse one document.

    Raises:
        SettingsError: With line and column; or for a name that is written twice.
    """
    position = "a place that cannot be told"
    try:
        loader = _UniqueKeyLoader(text)
        loader.source = source
        try:
            table: object = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        if error.problem_mark:
            position = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    # PyYAML's constructors let Python's own errors out for values such as the date 2024-13-45.
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError):
        pass
    else:
        return table
    raise SettingsError(f"{source} is not valid YAML at {position}; values with : or # need quotes")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML forbids repeated keys; PyYAML takes the last one silently."""

    source: str

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        refuse_repeats((key.value for key in keys if key.tag != "tag:yaml.org,2002:merge"), self.source)
        return super().construct_mapping(node, deep=deep)
