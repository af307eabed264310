"""What an examination finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`PROBLEM` keeps somebody from an answer; `ADVICE` would do better."""

    OK = "ok"
    ADVICE = "advice"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`said` is what was seen of `subject`; `remedy` what to do about it, empty where nothing is needed."""

    subject: str
    level: Level
    said: str
    remedy: str = ""


def ok(subject: str, said: str) -> Finding:
    """As it should be."""
    return Finding(subject=subject, level=Level.OK, said=said)


def advice(subject: str, said: str, remedy: str) -> Finding:
    """It works, and could be better."""
    return Finding(subject=subject, level=Level.ADVICE, said=said, remedy=remedy)


def problem(subject: str, said: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(subject=subject, level=Level.PROBLEM, said=said, remedy=remedy)
