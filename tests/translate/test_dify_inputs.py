import pytest

from opendify.errors import InvalidInput, InvalidRequest
from opendify.records import AppProfile, InputField
from opendify.settings import DifyApp
from opendify.translate.dify_inputs import check_inputs, merge_inputs

NAME = InputField("name", "text-input", required=True, max_length=5)
FILE = {"type": "image", "transfer_method": "remote_url", "url": "https://x.example/a.png"}


def app(**options: object) -> DifyApp:
    return DifyApp(name="m", api_key="app-x", api_base="https://dify.example/v1", **options)  # type: ignore[arg-type] # Rows of a table.


def profile(*form: InputField) -> AppProfile:
    return AppProfile("chat", form=form)


def test_a_clients_inputs_come_before_the_models_and_those_before_the_forms() -> None:
    form = (
        InputField("a", "paragraph", default="form"),
        InputField("b", "paragraph", default="form"),
        InputField("c", "paragraph", default="form"),
        InputField("d", "paragraph"),
    )

    merged = merge_inputs(app(inputs={"b": "model", "c": "model"}), profile(*form), {"c": "client"})

    assert merged == {"a": "form", "b": "model", "c": "client"}


def test_inputs_that_no_form_names_pass() -> None:
    assert merge_inputs(app(), AppProfile("chat"), {"x": 1}) == {"x": 1}
    check_inputs({"x": 1}, profile())
    check_inputs({"x": 1}, AppProfile("chat"))


def test_a_locked_input_cannot_be_set_by_a_client() -> None:
    locking = app(inputs={"tone": "dry"}, locked_inputs=frozenset({"tone", "depth"}))

    assert merge_inputs(locking, profile(), {"x": "y"}) == {"tone": "dry", "x": "y"}
    with pytest.raises(InvalidRequest, match="'tone'") as caught:
        merge_inputs(locking, profile(), {"tone": "rude"})
    assert (caught.value.status, caught.value.param) == (400, "inputs.tone")


@pytest.mark.parametrize("inputs", [{}, {"name": None}], ids=["absent", "null"])
def test_a_required_input_is_named_with_its_type_and_how_to_send_it(inputs: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_inputs(inputs, profile(NAME))

    assert (caught.value.status, caught.value.code) == (400, "invalid_input")
    assert caught.value.param == "inputs.name"
    for words in ("'name'", "text-input", '"inputs": {"name": …}', "extra_body"):
        assert words in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param(NAME, "", id="an empty text is given"),
        pytest.param(NAME, "12345", id="as long as allowed"),
        pytest.param(InputField("x", "paragraph"), "any\nlength", id="a paragraph"),
        pytest.param(InputField("x", "select", options=("en", "de")), "de", id="an option"),
        pytest.param(InputField("x", "select"), "any", id="a select without options"),
        pytest.param(InputField("x", "number"), 5, id="an integer"),
        pytest.param(InputField("x", "number"), -0.5, id="a decimal"),
        pytest.param(InputField("x", "number"), "1e3", id="a number in text"),
        pytest.param(InputField("x", "number"), "", id="an unset number"),
        pytest.param(InputField("x", "number"), 10**400, id="an integer beyond decimals"),
        pytest.param(InputField("x", "checkbox"), True, id="a boolean"),
        pytest.param(InputField("x", "json_object"), {"a": 1}, id="an object"),
        pytest.param(InputField("x", "file"), FILE, id="a file"),
        pytest.param(InputField("x", "file-list", max_length=2), [FILE, FILE], id="files"),
        pytest.param(InputField("x", "invented_later"), object(), id="a type of a later version"),
        pytest.param(InputField("x", "text-input"), None, id="null where none is required"),
    ],
)
def test_a_value_that_fits_its_variable_passes(field: InputField, value: object) -> None:
    check_inputs({field.name: value}, profile(field))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        pytest.param(NAME, "123456", "at most 5 characters", id="too long"),
        pytest.param(NAME, 5, "a string", id="a number for a text"),
        pytest.param(InputField("x", "paragraph"), ["a"], "a string", id="a list for a text"),
        pytest.param(
            InputField("x", "select", options=("en", "de")), "fr", "one of 'en', 'de'", id="no option"
        ),
        pytest.param(
            InputField("x", "select", options=("en",)), 5, "one of 'en'", id="a number for an option"
        ),
        pytest.param(InputField("x", "number"), "many", "a number", id="a word for a number"),
        pytest.param(InputField("x", "number"), [1], "a number", id="a list for a number"),
        pytest.param(InputField("x", "number"), {}, "a number", id="an object for a number"),
        pytest.param(InputField("x", "json_object"), [1], "an object", id="a list for an object"),
        pytest.param(InputField("x", "json_object"), 5, "an object", id="a number for an object"),
        pytest.param(InputField("x", "checkbox"), "perhaps", "", id="a word for a boolean"),
        pytest.param(InputField("x", "checkbox"), [], "", id="a list for a boolean"),
        pytest.param(InputField("x", "file"), "a.png", "", id="a name for a file"),
        pytest.param(InputField("x", "file"), [FILE], "", id="files for a file"),
        pytest.param(InputField("x", "file-list"), FILE, "", id="a file for files"),
        pytest.param(InputField("x", "file-list", max_length=1), [FILE, FILE], "", id="too many files"),
    ],
)
def test_a_value_that_cannot_fit_its_variable_is_refused(
    field: InputField, value: object, expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_inputs({field.name: value}, profile(field))

    assert caught.value.param == f"inputs.{field.name}"
    assert repr(field.name) in caught.value.message
    assert expected in caught.value.message
