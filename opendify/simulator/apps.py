"""The Dify apps that a simulator serves, each behind its own key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Literal

AppMode = Literal["chat", "agent-chat", "agent", "advanced-chat", "completion", "workflow"]

CHAT_MODES = frozenset({"chat", "agent-chat", "agent", "advanced-chat"})
STREAMING_ONLY_MODES = frozenset({"agent-chat", "agent"})
GRAPH_MODES = frozenset({"advanced-chat", "workflow"})


class Outputs(Enum):
    """Where a workflow's outputs come from."""

    MODEL = "one text of a model"
    MODEL_AND_FILE = "one text of a model, and the file input `pic`"
    CODE = "four values of different types, computed by code"
    TEMPLATE = "a filled-in template and one of the inputs"
    TWO_MODELS = "the texts of two models, one after the other"


@dataclass(frozen=True)
class FormField:
    """One variable of an app's input form; `kind` is Dify's type name.

    `file_types` are those that a variable for files takes.
    """

    variable: str
    kind: str = "text-input"
    required: bool = False
    max_length: int | None = None
    choices: tuple[str, ...] = ()
    default: str = ""
    file_types: tuple[str, ...] = ("image",)


@dataclass(frozen=True)
class Moderation:
    """A keyword filter on questions and answers."""

    forbidden: str
    input_text: str
    output_text: str


@dataclass(frozen=True)
class DemoApp:
    """One app. `max_active_requests` 0 means unlimited, as in Dify."""

    name: str
    mode: AppMode
    description: str = ""
    opening_statement: str = ""
    suggested_questions: tuple[str, ...] = ()
    suggests_after_answer: bool = False
    form: tuple[FormField, ...] = ()
    system_prompt: str = ""
    prompt_template: str = ""
    file_types: tuple[str, ...] = ()
    max_files: int = 3
    moderation: Moderation | None = None
    outputs: Outputs = Outputs.MODEL
    published: bool = True
    api_enabled: bool = True
    provider_ready: bool = True
    max_active_requests: int = 0
    speech_to_text: bool = False
    text_to_speech: bool = False
    cites: bool = False
    tools: tuple[str, ...] = ()
    tags: tuple[str, ...] = field(default=())


_CITY_FORM = (
    FormField("city", required=True, max_length=48),
    FormField("tone", "select", required=True, choices=("formal", "casual")),
    FormField("notes", "paragraph"),
    FormField("count", "number"),
)
_GRAPH_LENGTH = 256
_QUERY_FORM = (FormField("query", "paragraph", required=True),)
_GRAPH_QUERY = FormField("query", "paragraph", required=True, max_length=4096)
_MODERATION = Moderation("forbiddenword", "Input was moderated.", "Output was moderated.")
_TOOLS = ("current_time", "weekday")

DEMO_APPS: Mapping[str, DemoApp] = MappingProxyType(
    {
        "app-demo-chat": DemoApp(
            "demo chat",
            "chat",
            "Echoes; remembers the conversation.",
            opening_statement="Hello from the chat app.",
            suggested_questions=("What can you do?",),
            suggests_after_answer=True,
            speech_to_text=True,
            text_to_speech=True,
        ),
        "app-demo-agent-chat": DemoApp(
            "demo agent chat",
            "agent-chat",
            "Calls tools; streaming only.",
            file_types=("image",),
            tools=_TOOLS,
        ),
        # Versions before 1.15.0 have no such mode; here they serve it as 1.15.0 does.
        "app-demo-agent": DemoApp(
            "demo agent", "agent", "The newer agent app.", file_types=("image",), tools=_TOOLS
        ),
        "app-demo-advanced-chat": DemoApp(
            "demo chatflow",
            "advanced-chat",
            "start -> llm -> answer",
            form=(FormField("lang", max_length=_GRAPH_LENGTH),),
            system_prompt="You are a test model.",
            file_types=("image", "document", "audio"),
        ),
        "app-demo-completion": DemoApp(
            "demo completion",
            "completion",
            "One required paragraph, `query`.",
            form=_QUERY_FORM,
            prompt_template="Complete this: {query}\n",
        ),
        "app-demo-workflow": DemoApp(
            "demo workflow",
            "workflow",
            "start -> llm -> end",
            form=(_GRAPH_QUERY,),
            system_prompt="You are a test model.",
            file_types=("image", "document"),
        ),
        "app-demo-chat-plain": DemoApp(
            "demo chat without speech",
            "chat",
            "Suggests questions; neither hears nor speaks.",
            opening_statement="Hello from the chat app.",
            suggested_questions=("What can you do?",),
            suggests_after_answer=True,
        ),
        "app-demo-chat-inputs": DemoApp(
            "demo chat with inputs",
            "chat",
            "Needs `city` and `tone`.",
            form=_CITY_FORM,
            system_prompt="Answer about {city} in a {tone} tone. {notes}\n",
        ),
        "app-demo-chat-vision": DemoApp(
            "demo chat with images", "chat", "Takes images.", file_types=("image",)
        ),
        "app-demo-chat-moderated": DemoApp("demo moderated chat", "chat", "Filters.", moderation=_MODERATION),
        "app-demo-chat-limited": DemoApp(
            "demo chat, one at a time", "chat", "One run.", max_active_requests=1
        ),
        "app-demo-chat-disabled": DemoApp("demo chat, switched off", "chat", "No API.", api_enabled=False),
        "app-demo-chat-no-provider": DemoApp(
            "demo chat, no model", "chat", "No model.", provider_ready=False
        ),
        "app-demo-chat-citations": DemoApp("demo chat that cites", "chat", "Cites.", cites=True),
        "app-demo-advanced-chat-moderated": DemoApp(
            "demo moderated chatflow", "advanced-chat", "Filters.", moderation=_MODERATION
        ),
        "app-demo-advanced-chat-inputs": DemoApp(
            "demo chatflow with inputs",
            "advanced-chat",
            "Needs `topic`.",
            form=(FormField("topic", required=True, max_length=_GRAPH_LENGTH),),
        ),
        "app-demo-advanced-chat-files": DemoApp(
            "demo chatflow with files",
            "advanced-chat",
            "Takes files of every type.",
            file_types=("image", "document", "audio", "video"),
        ),
        "app-demo-advanced-chat-limited": DemoApp(
            "demo chatflow, one at a time", "advanced-chat", "One run.", max_active_requests=1
        ),
        "app-demo-workflow-inputs": DemoApp(
            "demo workflow with inputs",
            "workflow",
            "Needs `name` and `style` besides the query.",
            form=(
                _GRAPH_QUERY,
                FormField("name", required=True, max_length=_GRAPH_LENGTH),
                FormField("style", "select", required=True, choices=("plain", "loud")),
                FormField("count", "number"),
            ),
        ),
        "app-demo-workflow-template": DemoApp(
            "demo template workflow",
            "workflow",
            "Fills a template; no model.",
            form=(
                FormField("name", required=True, max_length=_GRAPH_LENGTH),
                FormField("count", "number", max_length=_GRAPH_LENGTH),
                FormField(
                    "style", "select", required=True, max_length=_GRAPH_LENGTH, choices=("plain", "loud")
                ),
            ),
            outputs=Outputs.TEMPLATE,
            file_types=("image", "document"),
        ),
        "app-demo-workflow-code": DemoApp(
            "demo code workflow",
            "workflow",
            "Computes value, text, items, obj from `expr`.",
            form=(FormField("expr", required=True, max_length=_GRAPH_LENGTH),),
            outputs=Outputs.CODE,
        ),
        "app-demo-workflow-texts": DemoApp(
            "demo workflow with several texts",
            "workflow",
            "Takes `title` and `body`; answers `summary` and `detail`.",
            form=(
                FormField("title", required=True, max_length=_GRAPH_LENGTH),
                FormField("body", "paragraph", required=True),
                FormField("remark"),
            ),
            outputs=Outputs.TWO_MODELS,
        ),
        "app-demo-workflow-file": DemoApp(
            "demo workflow with a file",
            "workflow",
            "Takes an image as input `pic`, and gives it back.",
            form=(
                FormField("pic", "file", max_length=_GRAPH_LENGTH),
                FormField("note", required=True, max_length=_GRAPH_LENGTH),
            ),
            outputs=Outputs.MODEL_AND_FILE,
            file_types=("image", "document"),
        ),
        "app-demo-workflow-limited": DemoApp(
            "demo workflow, one at a time",
            "workflow",
            "One run.",
            form=(_GRAPH_QUERY,),
            max_active_requests=1,
        ),
        "app-demo-workflow-unpublished": DemoApp(
            "demo draft", "workflow", "Never published.", published=False
        ),
    }
)

DEMO_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "demo-chat": "app-demo-chat",
        "demo-agent-chat": "app-demo-agent-chat",
        "demo-agent": "app-demo-agent",
        "demo-chatflow": "app-demo-advanced-chat",
        "demo-completion": "app-demo-completion",
        "demo-workflow": "app-demo-workflow",
    }
)
