# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-openai==1.7.3", "langgraph==1.2.22"]
# ///
"""Asks a running OpenDify through LangChain. Usage: ask_langchain.py BASE_URL API_KEY."""

import json
import sys

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph

base_url, api_key = sys.argv[1:]
model = ChatOpenAI(model="demo-chat", base_url=base_url, api_key=api_key, stream_usage=True)


def _answer(state: MessagesState) -> dict[str, list[AnyMessage]]:
    return {"messages": [model.invoke(state["messages"])]}


def _graph_answer(text: str) -> str:
    state = graph.invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": "1"}})
    return str(state["messages"][-1].content)


def _failure(text: str) -> str:
    try:
        model.invoke(text)
    except Exception as error:  # noqa: BLE001 - What kind it is, is what is asked.
        return str(error)
    return "no failure"


builder = StateGraph(MessagesState)
builder.add_node("answer", _answer)
builder.add_edge(START, "answer")
graph = builder.compile(checkpointer=MemorySaver())
chunks = list(model.stream("Hello"))
seen = {
    "whole": model.invoke("Hello").content,
    "streamed": "".join(str(chunk.content) for chunk in chunks),
    "tokens": sum(chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata),
    "graph": [_graph_answer("one"), _graph_answer("two")],
    "failure": _failure("FAIL500"),
}
sys.stdout.write(json.dumps(seen) + "\n")
