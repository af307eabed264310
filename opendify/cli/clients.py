"""What to set in each client, with this service's own address and models."""

from collections.abc import Mapping
from string import Template
from typing import Final

from opendify.settings import Settings

# `$url` ends in /v1, `$root` does not; `$model` is the first of the table.
CLIENTS: Final[Mapping[str, str]] = {
    "ai-sdk": """\
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const opendify = createOpenAICompatible({
  name: "opendify",
  baseURL: "$url",
  apiKey: "YOUR_KEY",
  includeUsage: true,
});
const model = opendify("$model");""",
    "azure-openai": """\
AZURE_OPENAI_ENDPOINT=$root
AZURE_OPENAI_API_KEY=YOUR_KEY
The deployment is the model: $models""",
    "chatbox": """\
Settings > Model Provider > Add > OpenAI API Compatible
API Host: $url
API Key:  YOUR_KEY
Models:   $models""",
    "cherry-studio": """\
Settings > Model Provider > Add > OpenAI
API Key:  YOUR_KEY
API Host: $root
Models:   $models""",
    "cline": """\
API Provider: OpenAI Compatible
Base URL:     $url
API Key:      YOUR_KEY
Model ID:     $model""",
    "codex": """\
model = "$model"
model_provider = "opendify"

[model_providers.opendify]
name = "OpenDify"
base_url = "$url"
env_key = "OPENDIFY_API_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0""",
    "continue": """\
models:
  - name: $model
    provider: openai
    model: $model
    apiBase: $url
    apiKey: YOUR_KEY""",
    "curl": """\
curl $url/chat/completions -H 'Authorization: Bearer YOUR_KEY' -H 'Content-Type: application/json' \\
  -d '{"model": "$model", "messages": [{"role": "user", "content": "Hello"}]}'""",
    "cursor": """\
Cursor Settings > Models > API Keys
OpenAI API Key:           YOUR_KEY
Override OpenAI Base URL: $url
Add model:                $model""",
    "dify": """\
Settings > Model Provider > OpenAI-API-compatible > Add Model
Model Name:       $model
API Key:          YOUR_KEY
API endpoint URL: $url
Completion mode:  Chat
Function calling: Not Support""",
    "langchain": """\
from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="$model",
    base_url="$url",
    api_key="YOUR_KEY",
    stream_usage=True,
)""",
    "librechat": """\
endpoints:
  custom:
    - name: OpenDify
      apiKey: YOUR_KEY
      baseURL: $url
      models:
        default: [$models]
        fetch: true
      titleConvo: true
      titleModel: current_model""",
    "litellm": """\
model_list:
  - model_name: $model
    litellm_params:
      model: openai/$model
      api_base: $url
      api_key: YOUR_KEY
      num_retries: 0
      allowed_openai_params: [user]
general_settings:
  forward_client_headers_to_llm_api: true""",
    "llamaindex": """\
from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="$model",
    api_base="$url",
    api_key="YOUR_KEY",
    is_chat_model=True,
    max_retries=0,
)""",
    "lobechat": """\
OPENAI_PROXY_URL=$url
OPENAI_API_KEY=YOUR_KEY
OPENAI_MODEL_LIST=-all,$plus_models""",
    "n8n": """\
Credentials > OpenAI
API Key:  YOUR_KEY
Base URL: $url
In the OpenAI Chat Model node: model $model""",
    "new-api": """\
Channel > Add > type OpenAI
Base URL: $root
Key:      YOUR_KEY
Models:   $models""",
    "nextchat": """\
BASE_URL=$root
OPENAI_API_KEY=YOUR_KEY
CUSTOM_MODELS=-all,$plus_models""",
    "open-webui": """\
OPENAI_API_BASE_URL=$url
OPENAI_API_KEY=YOUR_KEY
ENABLE_FORWARD_USER_INFO_HEADERS=true""",
    "openai-agents": """\
from agents import Agent, Runner, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url="$url", api_key="YOUR_KEY")
set_default_openai_client(client, use_for_tracing=False)
set_tracing_disabled(True)
agent = Agent(name="opendify", model="$model")""",
    "openai-node": """\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "$url", apiKey: "YOUR_KEY" });
const model = "$model";""",
    "openai-python": """\
from openai import OpenAI

client = OpenAI(base_url="$url", api_key="YOUR_KEY")
model = "$model\"""",
}


def settings_for(client: str, url: str, settings: Settings) -> str:
    """What to paste into `client`, which reaches this service at `url`, ending in `/v1`."""
    url = url.rstrip("/")
    names = settings.model_names
    return Template(CLIENTS[client]).substitute(
        url=url,
        root=url.removesuffix("/v1"),
        model=names[0],
        models=", ".join(names),
        plus_models=",".join(f"+{name}" for name in names),
    )
