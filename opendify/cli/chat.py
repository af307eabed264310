"""`opendify chat`: a conversation in the terminal, through the running service."""

import base64
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from opendify.cli.api import Api, ApiFailure, Piece
from opendify.cli.asking import asks_service, opened_service
from opendify.cli.completion import complete_model

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_HELP = """\
/file PATH   attach a file to the next message
/new         begin a new conversation
/thoughts    show thoughts in full, or fold them again
/quit        leave (Ctrl-D too)"""


@dataclass
class _Conversation:
    """What was said, and what the next message carries."""

    messages: list[Mapping[str, object]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    shows_thoughts: bool = False

    def ask(self, text: str) -> None:
        parts = [{"type": "text", "text": text}, *map(_part_of, self.files)]
        self.messages.append({"role": "user", "content": parts if self.files else text})
        self.files.clear()

    def restart(self) -> None:
        self.messages.clear()
        self.files.clear()


@click.command()
@click.argument("model", required=False, shell_complete=complete_model)
@asks_service
@click.option("--message", "-m", help="Ask once, print the answer as it comes, and leave.")
@click.option("--file", "files", multiple=True, type=_FILE, help="Attach FILE to the first message.")
def chat(
    model: str | None, url: str | None, key: str | None, message: str | None, files: tuple[Path, ...]
) -> None:
    """Talk to MODEL, by default the first of the table, through the running service."""
    conversation = _Conversation(files=list(files))
    with opened_service(url, key, model) as (api, model):
        if message:
            _answer_plainly(api, model, conversation, message)
        else:
            _talk(api, model, conversation)


def _answer_plainly(api: Api, model: str, conversation: _Conversation, message: str) -> None:
    conversation.ask(message)
    try:
        for piece in api.stream(model, conversation.messages):
            click.echo(piece.text, nl=False)
    except ApiFailure as failure:
        raise click.ClickException(str(failure)) from None
    click.echo()


def _talk(api: Api, model: str, conversation: _Conversation) -> None:
    console = Console()
    console.print(f"[bold]{model}[/] at {api.url}  [dim]/help tells what can be typed[/]")
    for line in _lines(console):
        if line.startswith("/"):
            if not _obey(line, conversation, console):
                return
            continue
        conversation.ask(line)
        try:
            answer = _show(api.stream(model, conversation.messages), conversation, console)
        except (ApiFailure, KeyboardInterrupt) as end:
            conversation.messages.pop()
            console.print(f"[red]{end}[/]" if isinstance(end, ApiFailure) else "[yellow]stopped[/]")
        else:
            conversation.messages.append({"role": "assistant", "content": answer})


def _lines(console: Console) -> Iterator[str]:
    while True:
        try:
            line = console.input("[bold green]> [/]").strip()
        except (EOFError, KeyboardInterrupt):
            console.print()
            return
        if line:
            yield line


def _obey(line: str, conversation: _Conversation, console: Console) -> bool:
    """Do what a line that begins with a slash says; False to leave."""
    command, _, argument = line.partition(" ")
    match command:
        case "/quit" | "/exit":
            return False
        case "/new":
            conversation.restart()
            console.print("[dim]a new conversation[/]")
        case "/thoughts":
            conversation.shows_thoughts = not conversation.shows_thoughts
        case "/file" if Path(argument.strip()).is_file():
            conversation.files.append(Path(argument.strip()))
            console.print(f"[dim]{argument.strip()} goes with the next message[/]")
        case "/file":
            console.print(f"[red]there is no file {argument.strip()!r}[/]")
        case _:
            console.print(_HELP, style="dim")
    return True


def _show(pieces: Iterator[Piece], conversation: _Conversation, console: Console) -> str:
    """The answer's text, shown while it comes."""
    text, thoughts = "", ""
    with Live(console=console, refresh_per_second=12, vertical_overflow="visible") as live:
        for piece in pieces:
            text += piece.text
            thoughts += piece.thoughts
            live.update(Group(*_shown(text, thoughts, in_full=conversation.shows_thoughts)))
    return text


def _shown(text: str, thoughts: str, *, in_full: bool) -> Iterator[Text | Markdown]:
    if thoughts:
        folded = f"thought for {len(thoughts.split())} words" if text else f"… {thoughts.split()[-1]}"
        yield Text(thoughts.strip() if in_full else folded, style="dim italic")
    if text:
        yield Markdown(text)


def _part_of(file: Path) -> Mapping[str, object]:
    mime_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    data = f"data:{mime_type};base64,{base64.b64encode(file.read_bytes()).decode()}"
    if mime_type.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": data}}
    return {"type": "file", "file": {"filename": file.name, "file_data": data}}
