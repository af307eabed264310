"""Random chats on the whole service, for as long as one likes.

`python -m tests.memory.random_walk --minutes 10 --seed 1 --store sqlite`
"""

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import httpx

from tests.memory.chats import Answer, Chatter, user
from tests.memory.servers import CHATFLOW, OTHER_MODEL, STORES, Stand, opened_stand
from tests.memory.walking import Chat, Memories, Transcript

STYLES: Final = ("transcript", "chat id", "open webui", "window", "line")
# How often each step is taken.
STEPS: Final = {
    "go_on": 10,
    "regenerate": 2,
    "edit": 2,
    "branch": 2,
    "switch_model": 1,
    "lose_at_dify": 1,
    "fail": 2,
    "leave": 1,
    "leave_in_silence": 1,
    "ask_at_once": 2,
    "ask_for_title": 1,
    "copy_to_another": 1,
}
_MODELS: Final = ("demo-chat", OTHER_MODEL, CHATFLOW)
_BREAKS: Final = ("FAIL500", "FAILMID LONG:9", "ERRMID LONG:9", "DROP:0", "DROP:3 LONG:9", "EOF:2 LONG:9")
_CHATS: Final = 8
# Answers that quote all that was said before grow fast, and replay has a limit.
_PROBED_CHARS: Final = 3_000
_MOST_CHARS: Final = 9_000
_MOST_MESSAGES: Final = 30


class Walk:
    """The chats of one seed."""

    def __init__(self, stand: Stand, seed: int, steps: Sequence[str] = tuple(STEPS)) -> None:
        self._stand = stand
        self._seed = seed
        self._steps = steps
        self._random = random.Random(seed)
        self._memories = Memories(stand.dify)
        self._keys = [f"sk-{secrets.token_hex(8)}" for _ in range(2)]
        self._chat_numbers: Counter[str] = Counter()
        self._questions = 0
        self.taken: Counter[str] = Counter()
        self._chats = [self._new_chat() for _ in range(_CHATS)]

    @property
    def turns(self) -> int:
        """Questions that were asked."""
        return self._questions

    @property
    def continued(self) -> int:
        """Turns that went on in the conversation of the one before."""
        return self._memories.continued

    def step(self) -> None:
        """Take one random step.

        Raises:
            AssertionError: Dify remembers something else than the client showed.
        """
        number = self._random.randrange(_CHATS)
        if self._chats[number].is_spoilt or _is_long(self._chats[number].transcript):
            self._chats[number] = self._new_chat()
        chat = self._chats[number]
        name = self._random.choices(self._steps, [STEPS[each] for each in self._steps])[0]
        try:
            getattr(self, name)(chat)
        except (AssertionError, httpx.HTTPError) as error:
            what = f"{self._stand.kind}, seed {self._seed}, step {self.taken.total()}: {name}"
            raise AssertionError(f"{what}, {chat.style}, {chat.scope}\n{error}") from error
        self.taken[name] += 1

    def go_on(self, chat: Chat) -> None:
        chat.branches[-1] = self._ask(chat, chat.transcript, self._question(chat.transcript))

    def regenerate(self, chat: Chat) -> None:
        asked = [number for number, (role, _) in enumerate(chat.transcript) if role == "user"]
        if chat.is_line or not asked or not (chat.may_show_nothing or asked[-1]):
            return
        question = chat.transcript[asked[-1]][1]
        chat.branches.append(self._ask(chat, chat.transcript[: asked[-1]], question))

    def edit(self, chat: Chat) -> None:
        asked = [number for number, (role, _) in enumerate(chat.transcript) if role == "user"]
        asked = [number for number in asked if number or chat.may_show_nothing]
        if chat.is_line or not asked:
            return
        before = chat.transcript[: self._random.choice(asked)]
        chat.branches.append(self._ask(chat, before, self._question(before)))

    def branch(self, chat: Chat) -> None:
        """Go back to another branch, or to an earlier answer."""
        if chat.is_line:
            return
        answered = [number for number, (role, _) in enumerate(chat.transcript) if role == "assistant"]
        places = [*chat.branches, *(chat.transcript[: number + 1] for number in answered)]
        places = [place for place in places if place or chat.may_show_nothing]
        if places:
            chat.branches.append(self._random.choice(places))
            self.go_on(chat)

    def switch_model(self, chat: Chat) -> None:
        if not chat.is_line and (chat.transcript or chat.may_show_nothing):
            chat.chatter = replace(chat.chatter, model=self._random.choice(_MODELS))
            self.go_on(chat)

    def lose_at_dify(self, chat: Chat) -> None:
        if chat.is_line:
            line = self._memories.line(chat)
            if line.conversation_id:
                self._memories.forget(chat, line.conversation_id)
                line.conversation_id = ""
                chat.branches = [()]
                self.go_on(chat)
            return
        fitting = self._memories.fitting(chat, chat.transcript)
        if fitting:
            self._memories.doubt(fitting)
            self._memories.forget(chat, self._random.choice(sorted(fitting)))
            self.go_on(chat)

    def fail(self, chat: Chat) -> None:
        if self._may_disturb(chat):
            question = f"{self._token()} {self._random.choice(_BREAKS)}"
            shown = self._disturb(chat, question)
            self._memories.line(chat).has_failed = True
            assert not chat.chatter.ask(*shown, user(question)).finished

    def leave(self, chat: Chat) -> None:
        """Go away in mid-answer; some clients keep what they heard."""
        if not self._may_disturb(chat):
            return
        token = self._token()
        shown = self._disturb(chat, question := f"{token} RATE:100 LONG:60")
        streaming = replace(chat.chatter, streamed=True)
        with streaming.asking(*shown, user(question)) as answering:
            heard = answering.next_piece() + answering.next_piece()
        if heard and not chat.is_line and self._random.random() < 0.5:
            # Without the words that would steer the model once more.
            chat.branches[-1] = (*chat.transcript, user(token), ("assistant", heard))

    def leave_in_silence(self, chat: Chat) -> None:
        if chat.is_line and self._memories.line(chat).has_failed:
            return  # A replay may hold the words that make the model fail, at once.
        if self._may_disturb(chat):
            shown = self._disturb(chat, question := f"{self._token()} SLOW:1.2")
            chat.chatter.leave(*shown, user(question), after_seconds=0.3)

    def ask_at_once(self, chat: Chat) -> None:
        if not self._may_disturb(chat):
            return
        before = chat.transcript
        questions = [f"{self._question(before)} SLOW:0.1" for _ in range(2)]
        shown = self._disturb(chat, *questions)
        fitting = self._memories.fitting(chat, shown)
        with ThreadPoolExecutor(len(questions)) as pool:
            answers = list(pool.map(lambda asked: chat.chatter.ask(*shown, user(asked)), questions))
        for question, answer in zip(questions, answers, strict=True):
            if chat.is_line:
                if not self._fails_again(chat, answer):
                    self._memories.check_line(chat, before, question, answer)
            else:
                chat.branches.append(self._memories.check(chat, shown, fitting, question, answer))
                fitting.pop(answer.conversation_id, None)

    def ask_for_title(self, chat: Chat) -> None:
        headers = {**chat.chatter.headers, "X-OpenWebUI-Task": "title_generation"}
        question = user(f"{self._token()} MEMORY")
        answer = replace(chat.chatter, headers=headers, streamed=False).ask(question)
        self._memories.assert_unknown(answer)
        assert answer.memory == [question], answer.text

    def copy_to_another(self, chat: Chat) -> None:
        """Somebody else shows the same words."""
        if self._memories.line(chat).has_failed and chat.is_line:
            return  # Its answers may quote what makes the model fail.
        other = Chatter(chat.chatter.origin, f"sk-{secrets.token_hex(8)}", chat.chatter.model)
        question = user(f"{self._token()} MEMORY")
        answer = other.ask(*chat.transcript, question)
        self._memories.assert_unknown(answer)
        assert answer.memory == [*chat.transcript, question], answer.text

    def _ask(self, chat: Chat, before: Transcript, question: str) -> Transcript:
        """A turn after `before`; what the transcript is then."""
        shown = self._shown(chat, before)
        self._memories.line(chat).asked.add(question)
        fitting = self._memories.fitting(chat, shown)
        answer = chat.chatter.ask(*shown, user(question))
        if not chat.is_line:
            self._memories.check(chat, shown, fitting, question, answer)
            return (*before, user(question), ("assistant", answer.text))
        if self._fails_again(chat, answer):
            return before
        said = self._memories.check_line(chat, before, question, answer)
        self._memories.line(chat).conversation_id = answer.conversation_id
        return said

    def _fails_again(self, chat: Chat, answer: Answer) -> bool:
        """Whether a replay held the words that made the model fail before; the chat is of no more use."""
        fails = self._memories.line(chat).has_failed and not answer.finished
        if fails:
            chat.is_spoilt = True
        return fails

    def _disturb(self, chat: Chat, *questions: str) -> Transcript:
        """Note that these may or may not be remembered; what the client shows with them."""
        shown = self._shown(chat, chat.transcript)
        line = self._memories.line(chat)
        line.asked.update(questions)
        line.conversation_id = ""
        self._memories.doubt(self._memories.fitting(chat, shown))
        return shown

    def _may_disturb(self, chat: Chat) -> bool:
        return bool(chat.transcript) or chat.may_show_nothing or chat.is_line

    def _shown(self, chat: Chat, transcript: Transcript) -> Transcript:
        if chat.is_line:
            return ()
        if chat.style != "window":
            return transcript
        starts = [number for number, (role, _) in enumerate(transcript) if role == "user"]
        return transcript[self._random.choice(starts[-3:]) :] if starts else ()

    def _new_chat(self) -> Chat:
        style, key = self._random.choice(STYLES), self._random.choice(self._keys)
        name = self._random.choice(("", "ada", "bob"))
        # Chat ids repeat among callers and users, as those of clients do that count.
        self._chat_numbers[key + name] += 1
        chat_id = "" if style == "transcript" else f"chat-{self._chat_numbers[key + name]}"
        header = "X-OpenWebUI-Chat-Id" if style == "open webui" else "X-Chat-Id"
        chatter = Chatter(
            self._stand.origin,
            key,
            self._random.choice(_MODELS),
            headers={header: chat_id} if chat_id else {},
            body={"user": name} if name else {},
            streamed=self._random.random() < 0.7,
        )
        return Chat(style, chatter, name, chat_id)

    def _question(self, transcript: Transcript) -> str:
        is_short = _chars(transcript) < _PROBED_CHARS
        wants_memory = is_short and self._random.random() < 0.5
        return f"{self._token()} {'MEMORY' if wants_memory else f'LONG:{self._random.randint(1, 40)}'}"

    def _token(self) -> str:
        self._questions += 1
        return f"s{self._seed}q{self._questions}"


@dataclass(frozen=True)
class Walked:
    """What came of a walk."""

    seed: int
    turns: int
    continued: int
    taken: Counter[str]
    failure: str


def walk(stand: Stand, seed: int, seconds: float, steps: Sequence[str] = tuple(STEPS)) -> Walked:
    """Walk for so long, or until something is wrong."""
    walked, until, failure = Walk(stand, seed, steps), time.monotonic() + seconds, ""
    while time.monotonic() < until and not failure:
        try:
            walked.step()
        except AssertionError as error:
            failure = str(error)
    return Walked(seed, walked.turns, walked.continued, walked.taken, failure)


def _is_long(transcript: Transcript) -> bool:
    return _chars(transcript) > _MOST_CHARS or len(transcript) > _MOST_MESSAGES


def _chars(transcript: Transcript) -> int:
    return sum(len(text) for _, text in transcript)


def main() -> int:
    """The command; the exit code is 1 where a memory was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--walkers", type=int, default=2, help="seeds at once, counted from --seed")
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--resolution", type=float, default=0.02, help="seconds that Dify tells apart")
    parser.add_argument("--without", nargs="*", choices=STEPS, default=[], help="steps to leave out")
    chosen = parser.parse_args()
    steps = [name for name in STEPS if name not in chosen.without]
    seeds = range(chosen.seed, chosen.seed + chosen.walkers)
    with (
        opened_stand(chosen.store, resolution=chosen.resolution) as stand,
        ThreadPoolExecutor(chosen.walkers) as pool,
    ):
        walks = list(pool.map(lambda seed: walk(stand, seed, chosen.minutes * 60, steps), seeds))
    for walked in walks:
        sys.stdout.write(
            f"{chosen.store}, seed {walked.seed}: {walked.turns} turns, {walked.continued} continued, "
            f"{dict(walked.taken)}\n{walked.failure}\n"
        )
    return any(walked.failure for walked in walks)


if __name__ == "__main__":
    sys.exit(main())
