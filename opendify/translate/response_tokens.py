"""How many tokens a request's own words may be."""

from opendify.translate.turn import Turn

_CHARS_A_TOKEN = 4


def estimated_tokens(turn: Turn) -> int:
    """A guess: which tokenizer an app's model has is not known, nor what its own prompt adds.

    In English a token is about four characters, in Chinese about one.
    """
    texts = [turn.system, turn.query, *(message.text for message in turn.history)]
    return sum(map(_estimate, texts))


def _estimate(text: str) -> int:
    ascii_chars = len(text.encode("ascii", "ignore"))
    return -(-ascii_chars // _CHARS_A_TOKEN) + len(text) - ascii_chars
