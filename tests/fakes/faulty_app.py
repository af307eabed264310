"""The real app with a fault in it: `GET /fault/PROMPT`."""

from main import app

__all__ = ["app"]


@app.get("/fault/<prompt>")
def fail(prompt: str) -> str:
    raise RuntimeError(f"a fault of ours, told with {prompt}")
