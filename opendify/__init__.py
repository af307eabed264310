"""OpenDify makes any Dify app look like an OpenAI model."""

__version__ = "0.1.0"
