import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opendify.settings import PROJECT_FOLDER, DifyApp, IntoInput, SettingsError, load_settings

SECRET = "app-Q7wErTy1UiOp2AsDfGh3JkLz"
BASE = "https://dify.example/v1"
OPTIONS = (
    "api_key, api_key_file, api_base, mode, aliases, inputs, locked_inputs, query_input, output, system, "
    "history, reasoning, steps, citations, hold_back, files, timeout_seconds, max_concurrency, headers, "
    "ca_file, background_model, fallbacks, fallback_on, on_disconnect, description"
)
# From 3.13 on Python points at the comma itself.
LAST_COMMA = (
    (36, "Illegal trailing comma before end of object")
    if sys.version_info >= (3, 13)
    else (37, "Expecting property name enclosed in double quotes")
)


def load(table: str) -> tuple[DifyApp, ...]:
    return load_settings({"DIFY_API_BASE": BASE, "MODEL_CONFIG": table}).models


def load_file(file: Path) -> tuple[DifyApp, ...]:
    return load_settings({"DIFY_API_BASE": BASE, "MODEL_CONFIG_FILE": str(file)}).models


def load_model(**options: object) -> DifyApp:
    return load(json.dumps({"writer": {"api_key": SECRET} | options}))[0]


def fault_of(table: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(table)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def fault_of_model(**options: object) -> str:
    fault = fault_of(json.dumps({"writer": {"api_key": SECRET} | options}))
    return fault.removeprefix("MODEL_CONFIG, entry 1 'writer': ")


def test_a_model_needs_a_name_and_a_key() -> None:
    assert load(f'{{"translator": "{SECRET}"}}') == (
        DifyApp(
            name="translator",
            api_key=SECRET,
            api_base=BASE,
            mode=None,
            aliases=(),
            inputs={},
            locked_inputs=frozenset(),
            query_input=None,
            output=None,
            system="auto",
            history="auto",
            reasoning="separate",
            steps="names",
            citations="annotations",
            hold_back=False,
            files="auto",
            timeout_seconds=None,
            max_concurrency=None,
            headers={},
            ca_file=None,
            description="",
        ),
    )


def test_models_keep_the_order_of_the_table() -> None:
    assert [model.name for model in load('{"b": "app-1", "a": "app-2", "c": "app-3"}')] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "name", ["a", "openai/gpt-4o", "my model", "翻译", "app-assistant", "x" * 200, "models"]
)
def test_a_model_may_be_called(name: str) -> None:
    assert load(json.dumps({name: SECRET}))[0].name == name


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("{'writer': 'app-1', 'critic': {'api_key': 'app-2', 'description': None}}", id="quotes"),
        pytest.param("{'writer': 'app-1', 'critic': 'app-2',}", id="last comma"),
        pytest.param("{\n  'writer': 'app-1',\n  'critic': 'app-2'\n}", id="several lines"),
    ],
)
def test_python_literals_of_older_files_are_accepted(table: str) -> None:
    assert [(model.name, model.api_key) for model in load(table)] == [
        ("writer", "app-1"),
        ("critic", "app-2"),
    ]


@pytest.mark.parametrize(
    ("option", "written", "field", "value"),
    [
        ("api_base", "http://other:5001", "api_base", "http://other:5001/v1"),
        ("mode", "advanced-chat", "mode", "advanced-chat"),
        ("mode", None, "mode", None),
        ("aliases", ["gpt-4o", "写手"], "aliases", ("gpt-4o", "写手")),
        (
            "inputs",
            {"language": "French", "n": 2, "deep": [{"x": None}]},
            "inputs",
            {"language": "French", "n": 2, "deep": [{"x": None}]},
        ),
        ("query_input", "text", "query_input", "text"),
        ("output", "json", "output", "json"),
        ("system", "off", "system", "off"),
        ("system", {"input": "instructions"}, "system", IntoInput("instructions")),
        ("history", "query", "history", "query"),
        ("reasoning", "inline", "reasoning", "inline"),
        ("steps", "full", "steps", "full"),
        ("citations", "footnotes", "citations", "footnotes"),
        ("hold_back", True, "hold_back", True),
        ("files", "fetch", "files", "fetch"),
        ("timeout_seconds", 45, "timeout_seconds", 45.0),
        ("timeout_seconds", 0.5, "timeout_seconds", 0.5),
        ("max_concurrency", 10, "max_concurrency", 10),
        ("headers", {"X-Gateway": "a b"}, "headers", {"X-Gateway": "a b"}),
        ("ca_file", "/etc/ca.pem", "ca_file", Path("/etc/ca.pem")),
        ("ca_file", "deploy/ca.pem", "ca_file", PROJECT_FOLDER / "deploy/ca.pem"),
        ("description", "Writes.", "description", "Writes."),
    ],
)
def test_an_option_sets_its_field(option: str, written: object, field: str, value: object) -> None:
    assert getattr(load_model(**{option: written}), field) == value


def test_locked_inputs_have_their_value_in_the_table() -> None:
    model = load_model(inputs={"tenant": "acme"}, locked_inputs=["tenant"])

    assert model.locked_inputs == {"tenant"}


def test_a_key_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")

    models = load(json.dumps({"writer": {"api_key_file": str(tmp_path / "key")}}))

    assert models[0].api_key == SECRET


def test_an_own_server_for_every_model_makes_dify_api_base_needless() -> None:
    table = json.dumps({"writer": {"api_key": SECRET, "api_base": "http://dify:5001"}})

    assert load_settings({"MODEL_CONFIG": table}).models[0].api_base == "http://dify:5001/v1"


def test_a_model_without_any_server_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"entry 1 'writer': has no `api_base`, and DIFY_API_BASE is not set$"
    ):
        load_settings({"MODEL_CONFIG": json.dumps({"writer": SECRET})})


def test_a_fingerprint_tells_servers_and_keys_apart_and_hides_both() -> None:
    app = DifyApp(name="writer", api_key=SECRET, api_base=BASE)
    renamed = DifyApp(name="critic", api_key=SECRET, api_base=BASE)
    other_key = DifyApp(name="writer", api_key=SECRET + "x", api_base=BASE)
    other_server = DifyApp(name="writer", api_key=SECRET, api_base="http://dify:5001/v1")

    assert re.fullmatch("[0-9a-f]{16}", app.fingerprint)
    assert app.fingerprint == renamed.fingerprint
    assert len({app.fingerprint, other_key.fingerprint, other_server.fingerprint}) == 3


def test_a_model_can_be_a_key_of_a_dict() -> None:
    assert load_model(inputs={"a": 1}, headers={"X-A": "1"}) in {
        load_model(inputs={"a": 1}, headers={"X-A": "1"})
    }


def test_keys_headers_and_inputs_are_not_in_the_repr() -> None:
    shown = repr(load_model(headers={"X-Gateway": "gateway-secret"}, inputs={"token": "input-secret"}))

    assert "writer" in shown
    assert not [secret for secret in (SECRET, "gateway-secret", "input-secret") if secret in shown]


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("", 'MODEL_CONFIG is not set; it needs at least one model, such as {"translator": "app-..."}'),
        ("{}", 'MODEL_CONFIG is empty; it needs at least one model: {"translator": "app-..."}'),
        ("[]", 'MODEL_CONFIG must be an object such as {"translator": "app-..."}'),
        (f'["{SECRET}"]', 'MODEL_CONFIG must be an object such as {"translator": "app-..."}'),
        (f'{{"a": "{SECRET}", "a": "app-2"}}', "MODEL_CONFIG has 'a' twice in one object"),
        (f"{{'a': '{SECRET}', 'a': 'app-2'}}", "MODEL_CONFIG has 'a' twice in one object"),
        (
            f'{{"a": {{"api_key": "{SECRET}", "api_key": "app-2"}}}}',
            "MODEL_CONFIG has 'api_key' twice in one object",
        ),
        (f'{{"{SECRET}": "a", "{SECRET}": "b"}}', "MODEL_CONFIG has (hidden) twice in one object"),
        (
            f'{{"a": "{SECRET}", "b": {{"api_key": "app-2", "aliases": ["a"]}}}}',
            "MODEL_CONFIG, entry 'b': another model is called 'a' too",
        ),
        (
            f'{{"a": {{"api_key": "{SECRET}", "aliases": ["x", "x"]}}}}',
            "MODEL_CONFIG, entry 'a': another model is called 'x' too",
        ),
        (
            f'{{"{SECRET}": "translator"}}',
            "MODEL_CONFIG, entry 1 (hidden): the name looks like an app key; "
            'write {"name of the model": "app-..."}',
        ),
        (
            '{"app-short": "translator"}',
            "MODEL_CONFIG, entry 1 (hidden): the name looks like an app key; "
            'write {"name of the model": "app-..."}',
        ),
        (
            f"{{7: '{SECRET}'}}",
            "MODEL_CONFIG, entry 1: the name must be text; put it in quotes",
        ),
        (
            f'{{"": "{SECRET}"}}',
            "MODEL_CONFIG, entry 1 '': the name must have 1 to 200 characters, no control characters, "
            "no outer blanks",
        ),
        (
            f'{{"a\\nb": "{SECRET}"}}',
            "MODEL_CONFIG, entry 1 'a\\nb': the name must have 1 to 200 characters, no control characters, "
            "no outer blanks",
        ),
        (
            f'{{"\\ud800": "{SECRET}"}}',
            "MODEL_CONFIG, entry 1 '\\ud800': the name must have 1 to 200 characters, no control characters, "
            "no outer blanks",
        ),
    ],
)
def test_a_table_that_names_no_models_is_refused(table: str, fault: str) -> None:
    assert fault_of(table) == fault


def test_a_piece_of_a_key_is_not_shown_where_a_name_is_expected() -> None:
    hidden = "MODEL_CONFIG, entry 1 (hidden): must be an app key"

    assert fault_of('{"AsDfGh3JkLz": 1}').startswith(hidden)
    assert fault_of('{"7f3a9c1e": 1}').startswith(hidden)
    assert fault_of('{"DeepSeekWriter-v3": 1}').startswith("MODEL_CONFIG, entry 1 'DeepSeekWriter-v3': ")


def test_every_wrong_entry_has_a_line() -> None:
    assert fault_of('{"a": 1, "b": "app-1", "c": {"api_key": ""}}').splitlines() == [
        "MODEL_CONFIG, entry 1 'a': must be an app key such as \"app-...\", or an object of options with an "
        "`api_key`",
        "MODEL_CONFIG, entry 3 'c': the key must be the app's key in visible ASCII characters, "
        "without blanks, not empty",
    ]


BAD_KEY = "the key must be the app's key in visible ASCII characters, without blanks, not empty"


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("", BAD_KEY),
        (f" {SECRET}", BAD_KEY),
        (f"{SECRET}\n", BAD_KEY),
        (f"{SECRET}\x00", BAD_KEY),
        ("app-…", BAD_KEY),
        (f"Bearer {SECRET}", "the key must stand alone, without `Bearer`"),
        (
            f"dataset-{SECRET}",
            "the key is a knowledge key (dataset-...), which opens no app; use the app's (app-...)",
        ),
        (
            f"https://dify.example/{SECRET}",
            "the key looks like an address; the address goes into `api_base` or DIFY_API_BASE",
        ),
    ],
)
def test_a_key_that_cannot_work_is_refused(key: str, fault: str) -> None:
    assert fault_of(json.dumps({"writer": key})) == f"MODEL_CONFIG, entry 1 'writer': {fault}"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"api_key": None}, '`api_key` must be the app\'s key as text: "app-..."'),
        ({"api_key": [SECRET]}, '`api_key` must be the app\'s key as text: "app-..."'),
        ({"api_key_file": "/run/secrets/key"}, "has both `api_key` and `api_key_file`; keep one"),
        (
            {"api_key": None, "api_key_file": "/no/such/file"},
            "`api_key_file` names '/no/such/file', which cannot be read (No such file or directory)",
        ),
        (
            {"api_base": "dify.example"},
            "`api_base` must begin with http:// or https://: did you mean https://dify.example ?",
        ),
        (
            {"api_base": f"https://{SECRET}@x"},
            "`api_base` must not hold a user name or password; use the model's `headers`",
        ),
        (
            {"mode": "chatflow"},
            "`mode` must be one of chat, agent-chat, agent, advanced-chat, completion, workflow",
        ),
        ({"aliases": "gpt-4o"}, "`aliases` must be a list of names"),
        ({"aliases": [""]}, "`aliases` must be a list of names"),
        (
            {"aliases": ["a\tb"]},
            "an alias must have 1 to 200 characters, no control characters, no outer blanks",
        ),
        ({"aliases": [SECRET]}, "an alias looks like an app key, which clients would then see"),
        ({"inputs": ["x"]}, "`inputs` must be an object of input names and values"),
        ({"inputs": {"": 1}}, "`inputs` holds a name that is not text, or is empty"),
        ({"inputs": {"x": float("nan")}}, "`inputs` holds a value that JSON does not have; put it in quotes"),
        ({"inputs": {"x": "\ud800"}}, "`inputs` holds a value that JSON does not have; put it in quotes"),
        ({"locked_inputs": ["tenant"]}, "`locked_inputs` names 'tenant', which has no value in `inputs`"),
        ({"query_input": ""}, "`query_input` must be text, and not empty"),
        ({"output": 3}, "`output` must be text, and not empty"),
        ({"system": "on"}, '`system` must be "auto", "query", "off" or {"input": "name of the input"}'),
        (
            {"history": {"input": "a", "x": 1}},
            '`history` must be "auto", "query", "off" or {"input": "name of the input"}',
        ),
        ({"fallbacks": "other"}, "`fallbacks` must be a list of names"),
        ({"fallback_on": "always"}, "`fallback_on` must be one of refused, failed"),
        ({"on_disconnect": "wait"}, "`on_disconnect` must be one of stop, continue"),
        ({"files": "maybe"}, "`files` must be one of auto, fetch, off"),
        ({"reasoning": "hide"}, "`reasoning` must be one of separate, inline, drop"),
        ({"steps": "all"}, "`steps` must be one of names, full, off"),
        ({"citations": True}, "`citations` must be one of annotations, footnotes, off"),
        ({"hold_back": "yes"}, "`hold_back` must be true or false"),
        ({"max_concurrency": 0}, "`max_concurrency` must be a whole number from 1 to 10000"),
        ({"max_concurrency": True}, "`max_concurrency` must be a whole number from 1 to 10000"),
        ({"max_concurrency": 2.5}, "`max_concurrency` must be a whole number from 1 to 10000"),
        ({"timeout_seconds": 0}, "`timeout_seconds` must be a number above 0, at most 86400"),
        ({"timeout_seconds": True}, "`timeout_seconds` must be a number above 0, at most 86400"),
        ({"timeout_seconds": "60"}, "`timeout_seconds` must be a number above 0, at most 86400"),
        ({"timeout_seconds": float("nan")}, "`timeout_seconds` must be a number above 0, at most 86400"),
        ({"headers": "X-A: 1"}, "`headers` must be an object of header names and values"),
        ({"headers": {"X A": "1"}}, "`headers` holds a name that is not a header's"),
        (
            {"headers": {"X-A": f"{SECRET}\r\nX-B: 1"}},
            "`headers` must give 'X-A' a value of visible ASCII characters",
        ),
        (
            {"headers": {"Authorization": SECRET}},
            "`headers` must not set authorization, which the proxy sets itself",
        ),
        ({"ca_file": "a\tb"}, "`ca_file` must be a path without control characters"),
        ({"apikey": SECRET}, f"unknown option 'apikey'; did you mean `api_key`? The options are: {OPTIONS}"),
        ({"colour": "red"}, f"unknown option 'colour'; The options are: {OPTIONS}"),
        ({SECRET: "red"}, f"unknown option (hidden); The options are: {OPTIONS}"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, object], fault: str) -> None:
    assert fault_of_model(**options) == fault


def test_inputs_nested_without_end_are_refused() -> None:
    nested: object = "x"
    for _ in range(100):
        nested = [nested]

    assert fault_of_model(inputs={"x": nested}) == "`inputs` is nested too deep"


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        pytest.param(
            f"{{translator:{SECRET}}}",
            "at line 1, column 2 (Expecting property name enclosed in double quotes); "
            "the quotes are gone, as when a shell reads it: put all of it in single quotes",
            id="quotes eaten by a shell",
        ),
        pytest.param(
            "{",
            "at line 1, column 2 (Expecting property name enclosed in double quotes); "
            "the closing brace is missing; in `.env` the whole table stands on one line",
            id="first of several lines",
        ),
        pytest.param(
            f'{{"translator": {{"api_key": "{SECRET}", "description": "our',
            f"at line 1, column {len(SECRET) + 47} (Unterminated string starting at); it ends within a text: "
            "in `.env`, # after a space begins a comment; put all of it in single quotes",
            id="cut where .env sees a comment",
        ),
        pytest.param(
            f"{{“translator”: “{SECRET}”}}",
            "at line 1, column 2 (Expecting property name enclosed in double quotes); "
            'use straight quotes ("), not typographic ones',
            id="typographic quotes",
        ),
        pytest.param(
            f'{{\\"translator\\": \\"{SECRET}\\"}}',
            "at line 1, column 2 (Expecting property name enclosed in double quotes); "
            'write " without a backslash before it',
            id="escaped quotes",
        ),
        pytest.param(
            f"{{'translator': {{'api_key': '{SECRET}', 'mode': null}}}}",
            "at line 1, column 2 (Expecting property name enclosed in double quotes); "
            'put names and values in double quotes (")',
            id="single quotes around JSON",
        ),
        pytest.param(
            f'{{"a": {{"api_key": "{SECRET}", "mode": null}},}}',
            f"at line 1, column {len(SECRET) + LAST_COMMA[0]} ({LAST_COMMA[1]}); "
            "remove the comma after the last entry",
            id="last comma",
        ),
        pytest.param(
            f'{{"a": "{SECRET}" "b": "app-2"}}',
            f"at line 1, column {len(SECRET) + 10} (Expecting ',' delimiter)",
            id="missing comma",
        ),
        pytest.param(
            "[" * 100_000,
            "at a place that is nested too deep or holds too long a number; "
            "the closing brace is missing; in `.env` the whole table stands on one line",
            id="nested too deep",
        ),
    ],
)
def test_a_fault_of_syntax_is_told_with_its_place_and_a_hint(table: str, fault: str) -> None:
    assert fault_of(table) == f"MODEL_CONFIG is not valid JSON {fault}"


@pytest.mark.parametrize(
    ("file_name", "text"),
    [
        ("models.json", '{\n  "writer": "app-1",\n  "critic": {"api_key": "app-2", "mode": "chat"}\n}\n'),
        (
            "models.JSON",
            '\ufeff{"models": {"writer": "app-1", "critic": {"api_key": "app-2", "mode": "chat"}}}',
        ),
        ("models.yaml", "writer: app-1\ncritic:\n  api_key: app-2\n  mode: chat\n"),
        ("models.yml", "models:\n  writer: app-1\n  critic: {api_key: app-2, mode: chat}\n"),
        ("models.toml", 'writer = "app-1"\n[critic]\napi_key = "app-2"\nmode = "chat"\n'),
        ("models.toml", '[models]\nwriter = "app-1"\n[models.critic]\napi_key = "app-2"\nmode = "chat"\n'),
    ],
)
def test_the_table_can_be_a_file(tmp_path: Path, file_name: str, text: str) -> None:
    (tmp_path / file_name).write_text(text, encoding="utf-8")

    assert load_file(tmp_path / file_name) == (
        DifyApp(name="writer", api_key="app-1", api_base=BASE),
        DifyApp(name="critic", api_key="app-2", api_base=BASE, mode="chat"),
    )


def test_a_model_may_be_called_models_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("models:\n  api_key: app-1\n")

    assert load_file(tmp_path / "models.yaml") == (DifyApp(name="models", api_key="app-1", api_base=BASE),)


@pytest.mark.parametrize(
    ("file_name", "text", "fault"),
    [
        ("models.ini", "x", " must name a file that ends in .json, .yaml, .yml or .toml"),
        ("models.yaml", "# nothing\n", ' must be an object such as {"translator": "app-..."}'),
        ("models.yaml", f"a: {SECRET}\na: app-2\n", " has 'a' twice in one object"),
        (
            "models.yaml",
            f"a: [{SECRET}\n",
            " is not valid YAML at line 2, column 1; values with : or # need quotes",
        ),
        (
            "models.yaml",
            f"a: !secret {SECRET}\n",
            " is not valid YAML at line 1, column 4; values with : or # need quotes",
        ),
        (
            "models.yaml",
            f"? [{SECRET}]\n: app-2\n",
            " is not valid YAML at line 1, column 3; values with : or # need quotes",
        ),
        (
            "models.yaml",
            "a: 2024-13-45\n",
            " is not valid YAML at a place that cannot be told; values with : or # need quotes",
        ),
        ("models.yaml", f"yes: {SECRET}\n", ", entry 1: the name must be text; put it in quotes"),
        (
            "models.yaml",
            f"a: {{api_key: {SECRET}, inputs: {{day: 2024-01-31}}}}\n",
            ", entry 1 'a': `inputs` holds a value that JSON does not have; put it in quotes",
        ),
        (
            "models.yaml",
            f"a: {{api_key: {SECRET}, inputs: {{x: &x [*x]}}}}\n",
            ", entry 1 'a': `inputs` is nested too deep",
        ),
        (
            "models.toml",
            f"a = {SECRET}\n",
            " is not valid TOML at line 1, column 5; names and values need quotes",
        ),
        (
            "models.toml",
            f'a = "{SECRET}"\na = "app-2"\n',
            " is not valid TOML at line 2, column 12; names and values need quotes",
        ),
    ],
)
def test_a_wrong_file_is_refused_by_its_variable(
    tmp_path: Path, file_name: str, text: str, fault: str
) -> None:
    (tmp_path / file_name).write_text(text)

    with pytest.raises(SettingsError) as caught:
        load_file(tmp_path / file_name)
    assert str(caught.value) == f"MODEL_CONFIG_FILE{fault}"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(
        SettingsError, match=r"^MODEL_CONFIG_FILE names '/no/such\.json', which cannot be read"
    ):
        load_file(Path("/no/such.json"))


def test_the_table_and_its_file_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match=r"^MODEL_CONFIG and MODEL_CONFIG_FILE are both set; keep one$"):
        load_settings({"MODEL_CONFIG": f'{{"a": "{SECRET}"}}', "MODEL_CONFIG_FILE": "models.json"})


# A busy machine is no failure.
unhurried = settings(deadline=None)

WHOLE_TABLES = st.sampled_from(
    [
        f'{{"translator": "{SECRET}"}}',
        f"{{'translator': '{SECRET}', 'writer': 'app-2'}}",
        f'{{"a": {{"api_key": "{SECRET}", "mode": "chat", "inputs": {{"x": [1]}}}}, "b": "app-2"}}',
        f"a:\n  api_key: {SECRET}\n  aliases: [x, y]\nb: app-2\n",
        f'[a]\napi_key = "{SECRET}"\naliases = ["x"]\n',
    ]
)
EDITS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 3),
        st.sampled_from(list("{}[]\"',:\\\n \t#&*!|>%@`=-\x00é。")) | st.just(""),
    ),
    max_size=6,
)


@st.composite
def mangled_tables(draw: st.DrawFn) -> str:
    text = draw(WHOLE_TABLES)
    for position, removed, inserted in draw(EDITS):
        position %= len(text) + 1
        text = text[:position] + inserted + text[position + removed :]
    return text


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(SECRET),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.just(SECRET), values, max_size=3)
    ),
    max_leaves=8,
)
ENTRIES = JSON_VALUES | st.dictionaries(st.sampled_from(OPTIONS.split(", ")) | st.just(SECRET), JSON_VALUES)


def assert_hides_the_secret(error: SettingsError) -> None:
    text = str(error)
    assert "".join(error.faults).isprintable()
    random_part = SECRET.removeprefix("app-")
    leaked = [
        random_part[at : at + 8] for at in range(len(random_part) - 7) if random_part[at : at + 8] in text
    ]
    assert not leaked


@unhurried
@given(mangled_tables())
def test_no_mangled_table_shows_the_secret_or_a_traceback(table: str) -> None:
    try:
        models = load(table)
    except SettingsError as error:
        assert_hides_the_secret(error)
    else:
        assert models


@pytest.mark.parametrize("suffix", ["json", "yaml", "toml"])
def test_no_mangled_file_shows_the_secret_or_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    file = tmp_path_factory.mktemp("mangled") / f"models.{suffix}"

    @unhurried
    @given(mangled_tables())
    def check(table: str) -> None:
        file.write_text(table, encoding="utf-8")
        try:
            models = load_file(file)
        except SettingsError as error:
            assert_hides_the_secret(error)
        else:
            assert models

    check()


@unhurried
@given(st.dictionaries(st.text(max_size=8) | st.just(SECRET), ENTRIES, max_size=3))
def test_no_odd_value_shows_the_secret_or_a_traceback(table: dict[str, object]) -> None:
    try:
        models = load(json.dumps(table))
    except SettingsError as error:
        assert_hides_the_secret(error)
    else:
        assert models


def fallbacks(**lists: list[str]) -> str:
    return json.dumps(
        {
            name: {"api_key": SECRET, "fallbacks": names, "aliases": [f"{name}-4o"]}
            for name, names in lists.items()
        }
    )


def test_models_may_stand_in_for_each_other_by_name_or_alias() -> None:
    one, two = load(fallbacks(one=["two"], two=["one-4o"]))

    assert (one.fallbacks, two.fallbacks) == (("two",), ("one-4o",))
    assert one.fallback_on == "refused"


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (["three"], "`fallbacks` names 'three', which is no model of this table"),
        (["one"], "`fallbacks` names the model itself"),
        (["two", "one-4o"], "`fallbacks` names the model itself"),
    ],
    ids=["unknown", "itself", "itself by an alias"],
)
def test_a_fallback_must_be_another_model(names: list[str], fault: str) -> None:
    assert fault_of(fallbacks(one=names, two=[])) == f"MODEL_CONFIG, entry 'one': {fault}"


def test_names_of_entries_that_are_wrong_themselves_are_names_all_the_same() -> None:
    table = {
        "one": {"api_key": SECRET, "fallbacks": ["two", "two-4o"], "background_model": "two"},
        "two": {"aliases": ["two-4o"]},
    }

    assert (
        fault_of(json.dumps(table))
        == "MODEL_CONFIG, entry 2 'two': `api_key` must be the app's key as text: \"app-...\""
    )


def test_when_to_fall_back_is_not_said_without_fallbacks() -> None:
    fault = fault_of_model(fallback_on="failed")

    assert fault == "MODEL_CONFIG, entry 'writer': `fallback_on` needs `fallbacks`"
