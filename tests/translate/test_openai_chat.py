from opendify.translate.openai_chat import chat_completion
from opendify.translate.turn import CompletionUsage, Price, Reply, ReplyEnded, ReplyStarted


def test_a_whole_answer_has_every_required_key() -> None:
    reply = Reply(
        text="Hi",
        thoughts="Hm",
        started=ReplyStarted("tid", "mid", "cid"),
        ended=ReplyEnded(CompletionUsage(10, 2), Price("0.01", "USD")),
    )

    assert chat_completion(reply, completion_id="chatcmpl-1", created=1_770_000_000, model="translator") == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_770_000_000,
        "model": "translator",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        "dify": {
            "conversation_id": "cid",
            "message_id": "mid",
            "task_id": "tid",
            "price": {"total": "0.01", "currency": "USD"},
        },
    }


def test_what_dify_did_not_tell_is_left_out() -> None:
    reply = Reply("", "", ReplyStarted(None), ReplyEnded())

    whole = chat_completion(reply, completion_id="chatcmpl-1", created=1, model="m")

    assert "usage" not in whole
    assert whole["dify"] == {}
    assert whole["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
