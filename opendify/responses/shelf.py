"""What is kept of responses, as their callers may look at it and delete it."""

from collections.abc import Sequence

from opendify.errors import InvalidRequest, ResponseNotFound
from opendify.records import Caller
from opendify.responses.keeping import Json, KeptResponse, KeptResponses
from opendify.wire.openai_responses import InputItemListing, StoredResponseQuery


class Shelf:
    """Another caller's response is as unknown as one that never was."""

    def __init__(self, kept: KeptResponses) -> None:
        self._kept = kept

    def get(self, response_id: str, caller: Caller, query: StoredResponseQuery) -> Json:
        """The response.

        Raises:
            ResponseNotFound: The caller has none with this id.
            InvalidRequest: It is wanted as a stream, and it has ended.
            ResponsesUnavailable: Nobody knows.
        """
        kept = self._get(response_id, caller)
        if query.stream:
            raise InvalidRequest(
                "'stream' must be false: this response has ended, and was not created in the background.",
                param="stream",
                code="unsupported_value",
            )
        return kept.response

    def delete(self, response_id: str, caller: Caller) -> None:
        """Forget it; raises as `get` does."""
        self._kept.forget(self._get(response_id, caller).id)

    def refusal_to_cancel(self, response_id: str, caller: Caller) -> InvalidRequest:
        """Why it is not cancelled; raises as `get` does."""
        self._get(response_id, caller)
        return InvalidRequest(
            "Cannot cancel a synchronous response: close its connection while it is still answered."
        )

    def list_input_items(self, response_id: str, caller: Caller, listing: InputItemListing) -> Json:
        """A page of what it answered, and of what was said before it; raises as `get` does."""
        self._get(response_id, caller)
        items = _items(self._kept.lineage(response_id, caller.id))
        if listing.order == "desc":
            items.reverse()
        ids = [item["id"] for item in items]
        start = ids.index(listing.after) + 1 if listing.after in ids else 0
        page = items[start : start + listing.limit]
        return {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else "",
            "last_id": page[-1]["id"] if page else "",
            "has_more": start + len(page) < len(items),
        }

    def _get(self, response_id: str, caller: Caller) -> KeptResponse:
        kept = self._kept.find(response_id, caller.id)
        if kept is None:
            raise ResponseNotFound(f"Response with id {response_id[:100]!r} not found.", param="id")
        return kept


def _items(lineage: Sequence[KeptResponse]) -> list[Json]:
    """Oldest first: each response's input, and the answers to all but the last."""
    items: list[Json] = []
    for kept in lineage[:-1]:
        items += [*kept.input, *kept.output]
    return [*items, *lineage[-1].input] if lineage else items
