import pytest

from opendify.errors import InvalidInput, InvalidRequest
from opendify.records import AppProfile, InputField
from opendify.settings import AppMode, DifyApp
from opendify.translate.dify_request import DifyRequest, RunText, build_request, has_conversations

CHAT_MODES: tuple[AppMode, ...] = ("chat", "agent-chat", "agent", "advanced-chat")
FILE = {"type": "image", "transfer_method": "local_file", "upload_file_id": "f"}


def app(**options: object) -> DifyApp:
    return DifyApp(name="m", api_key="app-x", api_base="https://dify.example/v1", **options)  # type: ignore[arg-type] # Rows of a table.


def text(name: str, *, required: bool = False, default: str | None = None) -> InputField:
    return InputField(name, "paragraph", required=required, default=default)


def build(
    mode: AppMode,
    *form: InputField,
    inputs: dict[str, object] | None = None,
    model: DifyApp | None = None,
) -> DifyRequest:
    profile = AppProfile(mode, form=form)
    return build_request(RunText("Hi", inputs or {}), model or app(), profile, user="u")


@pytest.mark.parametrize("mode", CHAT_MODES)
def test_a_chat_app_takes_the_text_as_query(mode: AppMode) -> None:
    request = build(mode, inputs={"lang": "de"})

    assert request == DifyRequest(
        "/chat-messages",
        "/chat-messages/{task_id}/stop",
        {
            "response_mode": "streaming",
            "user": "u",
            "query": "Hi",
            "inputs": {"lang": "de"},
            "auto_generate_name": False,
        },
    )


@pytest.mark.parametrize("mode", CHAT_MODES)
def test_a_conversation_files_and_its_name_are_told_where_they_are(mode: AppMode) -> None:
    request = build_request(
        RunText("Hi", {}),
        app(),
        AppProfile(mode),
        user="u",
        files=[FILE],
        conversation_id="cid",
        auto_generate_name=True,
    )

    assert request.body["conversation_id"] == "cid"
    assert request.body["files"] == [FILE]
    assert request.body["auto_generate_name"] is True


@pytest.mark.parametrize("mode", ["completion", "workflow"])
def test_an_app_without_memory_is_told_of_no_conversation(mode: AppMode) -> None:
    request = build_request(
        RunText("Hi", {}), app(), AppProfile(mode), user="u", conversation_id="cid", auto_generate_name=True
    )

    assert not {"conversation_id", "auto_generate_name"} & request.body.keys()


@pytest.mark.parametrize(
    ("mode", "keeps"),
    [*((mode, True) for mode in CHAT_MODES), ("completion", False), ("workflow", False)],
)
def test_chat_apps_keep_a_memory(mode: AppMode, keeps: bool) -> None:
    assert has_conversations(mode) is keeps


@pytest.mark.parametrize(
    ("form", "inputs"),
    [
        pytest.param([text("query")], {"query": "Hi"}, id="a variable called query"),
        pytest.param([text("article")], {"article": "Hi"}, id="the only text variable"),
        pytest.param(
            [text("tone"), text("article", required=True)], {"article": "Hi"}, id="the first required"
        ),
        pytest.param([text("article"), text("tone")], {"article": "Hi"}, id="the first"),
        pytest.param([InputField("n", "number"), text("article")], {"article": "Hi"}, id="no number"),
        pytest.param(
            [text("article", default="Lorem")], {"article": "Hi"}, id="one with a default of its own"
        ),
        pytest.param([], {}, id="none"),
    ],
)
def test_a_completion_app_takes_the_text_in_a_variable(form: list[InputField], inputs: object) -> None:
    request = build("completion", *form)

    assert (request.path, request.stop_path) == (
        "/completion-messages",
        "/completion-messages/{task_id}/stop",
    )
    assert request.body["inputs"] == inputs
    assert request.body["response_mode"] == "streaming"


def test_a_completion_app_without_variables_takes_the_text_as_query() -> None:
    assert build("completion").body["query"] == "Hi"


@pytest.mark.parametrize(
    ("form", "inputs"),
    [
        pytest.param([text("a"), text("query")], {"query": "Hi"}, id="query"),
        pytest.param([text("a"), text("input")], {"input": "Hi"}, id="input"),
        pytest.param([text("a"), text("text")], {"text": "Hi"}, id="text"),
        pytest.param([text("a"), text("question")], {"question": "Hi"}, id="question"),
        pytest.param([text("a"), text("prompt")], {"prompt": "Hi"}, id="prompt"),
        pytest.param([text("a"), text("sys.query")], {"sys.query": "Hi"}, id="sys.query"),
        pytest.param([text("prompt"), text("input"), text("query")], {"query": "Hi"}, id="query is best"),
        pytest.param([text("article")], {"article": "Hi"}, id="the only text variable"),
        pytest.param(
            [InputField("n", "number"), text("article"), InputField("f", "file")],
            {"article": "Hi"},
            id="the only text variable among others",
        ),
        pytest.param(
            [InputField("input", "file"), text("article")],
            {"article": "Hi"},
            id="a file variable of a usual name",
        ),
        pytest.param(
            [InputField("content", "file-list"), InputField("text", "number"), text("article")],
            {"article": "Hi"},
            id="other variables of usual names",
        ),
        pytest.param(
            [text("article", default="Lorem")], {"article": "Hi"}, id="the only one has a default of the form"
        ),
        pytest.param([text("query", default="Lorem")], {"query": "Hi"}, id="query has a default of the form"),
        pytest.param([InputField("n", "number")], {}, id="none"),
        pytest.param([], {}, id="an empty form"),
    ],
)
def test_a_workflow_takes_the_text_in_a_variable(form: list[InputField], inputs: object) -> None:
    request = build("workflow", *form)

    assert request == DifyRequest(
        "/workflows/run",
        "/workflows/tasks/{task_id}/stop",
        {"response_mode": "streaming", "user": "u", "inputs": inputs},
    )


def test_a_workflow_whose_form_is_unknown_takes_query() -> None:
    request = build_request(RunText("Hi", {}), app(), AppProfile("workflow"), user="u")

    assert request.body["inputs"] == {"query": "Hi"}


def test_a_workflow_with_several_candidates_names_them() -> None:
    with pytest.raises(InvalidRequest) as caught:
        build("workflow", text("article"), text("tone"), InputField("n", "number"))

    assert caught.value.status == 400
    for words in ("'article'", "'tone'", "query_input"):
        assert words in caught.value.message
    assert "'n'" not in caught.value.message


def test_a_candidate_that_has_a_value_already_is_none() -> None:
    both = text("article"), text("tone")

    by_client = build("workflow", *both, inputs={"tone": "dry"})
    by_model = build("workflow", *both, model=app(inputs={"tone": "dry"}))
    by_form = build("workflow", text("article"), text("tone", default="dry"))

    for request in (by_client, by_model, by_form):
        assert request.body["inputs"] == {"article": "Hi", "tone": "dry"}


@pytest.mark.parametrize("mode", ["completion", "workflow"])
def test_a_configured_query_input_wins(mode: AppMode) -> None:
    request = build(mode, text("query"), text("article"), model=app(query_input="article"))

    assert request.body["inputs"] == {"article": "Hi"}


@pytest.mark.parametrize("mode", ["completion", "workflow"])
def test_a_configured_query_input_need_not_be_in_the_form(mode: AppMode) -> None:
    assert build(mode, model=app(query_input="hidden")).body["inputs"] == {"hidden": "Hi"}


@pytest.mark.parametrize("mode", ["completion", "workflow"])
def test_the_text_comes_before_a_default_and_a_clients_own_value_before_the_text(mode: AppMode) -> None:
    model = app(inputs={"query": "default"}, query_input="query")

    assert build(mode, text("query"), model=model).body["inputs"] == {"query": "Hi"}
    assert build(mode, text("query"), model=model, inputs={"query": "mine"}).body["inputs"] == {
        "query": "mine"
    }


def test_the_only_text_variable_keeps_a_clients_own_value() -> None:
    assert build("workflow", text("article"), inputs={"article": "mine"}).body["inputs"] == {
        "article": "mine"
    }


@pytest.mark.parametrize("mode", [*CHAT_MODES, "completion", "workflow"])
def test_a_required_input_that_is_missing_is_refused_before_dify_is_asked(mode: AppMode) -> None:
    form = text("query", required=True), InputField("lang", "select", required=True, options=("en", "de"))

    with pytest.raises(InvalidInput, match="'lang'") as caught:
        build(mode, *form, inputs={"query": "Hi"})

    assert caught.value.param == "inputs.lang"


@pytest.mark.parametrize("mode", ["completion", "workflow"])
def test_the_text_itself_is_held_against_the_form(mode: AppMode) -> None:
    short = InputField("query", "text-input", required=True, max_length=1)

    with pytest.raises(InvalidInput) as caught:
        build(mode, short)

    assert caught.value.param == "inputs.query"


@pytest.mark.parametrize("mode", [*CHAT_MODES, "completion", "workflow"])
def test_a_locked_input_is_refused_in_every_mode(mode: AppMode) -> None:
    model = app(inputs={"tone": "dry"}, locked_inputs=frozenset({"tone"}), query_input="query")

    with pytest.raises(InvalidRequest) as caught:
        build(mode, inputs={"tone": "rude"}, model=model)

    assert caught.value.param == "inputs.tone"
    inputs = build(mode, model=model).body["inputs"]
    assert isinstance(inputs, dict)
    assert inputs["tone"] == "dry"


@pytest.mark.parametrize(
    ("mode", "version", "is_stopped"),
    [
        ("workflow", "1.14.0", False),
        ("advanced-chat", "1.16.1", True),
        ("workflow", "1.13.3", True),
        ("chat", "1.16.1", True),
    ],
)
def test_a_run_goes_on_without_its_client_where_it_can_be_listened_to_again(
    mode: AppMode, version: str, is_stopped: bool
) -> None:
    profile = AppProfile(mode, version=version)

    request = build_request(RunText("Hi", {}), app(on_disconnect="continue"), profile, user="u")

    assert bool(request.stop_path) is is_stopped
    assert build_request(RunText("Hi", {}), app(), profile, user="u").stop_path
