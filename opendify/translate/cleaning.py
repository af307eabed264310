"""What of another program's error message a client may read: its words, no stack, host, key or data."""

import json
import re

MAX_MESSAGE_CHARS = 500
_MAX_READ_CHARS = 4 * MAX_MESSAGE_CHARS

_STACK = "Traceback (most recent call last):"
_PLUGIN_FAILURE = re.compile(r'(?:req_id: \w{1,60} )?(?:\w{0,60}Error: ){0,4}(?P<object>\{"args":)')
_VALIDATION_FAULT = re.compile(r"^(?P<field>\S+)\n  (?P<fault>.*?)(?: \[type=.*)?$", re.M)

_HOST = r"[A-Za-z][\w-]*(?:\.[\w-]+)+"
_REDACTIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s*You have requested this URI \[.*", re.S), ""),
    # Dify forgets to fill this in.
    (re.compile(r" ?\{message\}"), ""),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]}]+", re.I), "<url>"),
    (re.compile(r"\bhost='[^']*'(, port=\d+)?"), "host=<host>"),
    (re.compile(rf"\b(host|resolve|lookup) '?(?:{_HOST}|[\w-]+(?=:\d))'?(?::\d+)?"), r"\1 <host>"),
    (re.compile(rf"\b(?:{_HOST}:\d{{2,5}}|[A-Za-z][\w-]*:\d{{4,5}})\b"), "<host>"),
    (re.compile(r"\[[0-9a-f]*:[0-9a-f:.]+\](?::\d+)?", re.I), "<host>"),
    (re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b"), "<host>"),
    # A tail with a digit, a capital or a mask is a key; "app-specific" is a word.
    (re.compile(r"\b(?:sk|pk|gsk|hf|xai|app|dataset|key)[-_](?=[\w*-]*[A-Z0-9*])[\w*-]{6,}"), "<key>"),
    (re.compile(r"\bAIza[\w-]{20,}"), "<key>"),
    (re.compile(r"\bbearer\s+[\w.~+/=-]{8,}", re.I), "Bearer <key>"),
    (re.compile(r"\s+"), " "),
)


def clean(message: str) -> str:
    """One line of at most `MAX_MESSAGE_CHARS` that names the fault and gives nothing away."""
    message = _cut(_without_validated_data(_without_stack(_in_the_provider_s_words(message))))
    for pattern, replacement in _REDACTIONS:
        message = pattern.sub(replacement, message)
    message = message.strip()
    if len(message) > MAX_MESSAGE_CHARS:
        return message[: MAX_MESSAGE_CHARS - 1] + "…"
    return message or "no reason was given"


def _cut(message: str) -> str:
    """The start of a long text, up to a whole word, since half a key would not be told as one."""
    if len(message) <= _MAX_READ_CHARS:
        return message
    start = message[:_MAX_READ_CHARS]
    return start.rpartition(" ")[0]


def _in_the_provider_s_words(message: str) -> str:
    """A plugin's failure wraps them: `…PluginInvokeError: {"args": {…}, …, "message": "…"}`."""
    wrapper = _PLUGIN_FAILURE.search(message)
    if not wrapper:
        return message
    try:
        failure, _ = json.JSONDecoder().raw_decode(message, wrapper.start("object"))
    except (ValueError, RecursionError):
        return message
    words = failure.get("message")
    return f"{message[: wrapper.start()]}{words}" if isinstance(words, str) else message


def _without_stack(message: str) -> str:
    """A stack's last line, which names the exception, in place of the stack."""
    before, marker, stack = message.partition(_STACK)
    if not marker:
        return message
    unindented = [line for line in stack.splitlines() if line and not line[0].isspace()]
    return f"{before}{unindented[-1] if unindented else 'the code failed'}"


def _without_validated_data(message: str) -> str:
    """The fields and faults of a validator's text, which quotes what it validated."""
    before, marker, _ = message.partition(" validation error")
    if not marker or "[type=" not in message:
        return message
    faults = [f"{fault['field']}: {fault['fault']}" for fault in _VALIDATION_FAULT.finditer(message)]
    return f"{before.rstrip('0123456789')}{'; '.join(faults) or 'refused as invalid'}"
