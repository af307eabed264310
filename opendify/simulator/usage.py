"""Token counts and prices, as every version writes them."""

from __future__ import annotations

from opendify.simulator.versions import Quirks

Json = dict[str, object]


def build_usage(prompt_tokens: int, completion_tokens: int, latency: float, quirks: Quirks) -> Json:
    """Prices are decimal strings; a zero price reads `0E-7` before 1.0."""
    return _usage(
        prompt_tokens,
        completion_tokens,
        latency,
        quirks,
        "0",
        "0E-7" if quirks.zero_price_is_exponent else "0",
    )


def empty_usage(quirks: Quirks, latency: float = 0.0) -> Json:
    """Usage of a turn whose model was not asked, or was stopped."""
    return _usage(0, 0, latency, quirks, "0.0", "0.0")


def agent_usage(prompt_tokens: int, completion_tokens: int, latency: float, quirks: Quirks) -> Json:
    """Before 1.0 an agent's usage has a `total_tokens` of 0."""
    usage = build_usage(prompt_tokens, completion_tokens, latency, quirks)
    if quirks.agent_usage_without_total:
        usage |= {"total_tokens": 0, "latency": 0.0}
    return usage


def with_timings(usage: Json, quirks: Quirks) -> Json:
    """Usage as chatflows give it: with the seconds to the first token and to the end."""
    if not quirks.timed_usage:
        return usage
    return usage | {"time_to_first_token": 0.01, "time_to_generate": 0.0}


def _usage(prompt: int, completion: int, latency: float, quirks: Quirks, unit: str, price: str) -> Json:
    usage: Json = {
        "prompt_tokens": prompt,
        "prompt_unit_price": unit,
        "prompt_price_unit": unit,
        "prompt_price": price,
        "completion_tokens": completion,
        "completion_unit_price": unit,
        "completion_price_unit": unit,
        "completion_price": price,
        "total_tokens": prompt + completion,
        "total_price": price,
        "currency": "USD",
        "latency": latency,
    }
    if quirks.timed_usage:
        usage |= {"time_to_first_token": None, "time_to_generate": None}
    return usage
