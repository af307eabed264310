"""The Responses API: answers with an id of their own, kept for a while, and gone on from."""
