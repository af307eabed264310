"""Which Dify conversation a turn belongs to, and what a new one must be told."""
