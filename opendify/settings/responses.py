"""Settings of the Responses API."""

from dataclasses import dataclass

from opendify.configuration import readers as read
from opendify.configuration.fields import setting


@dataclass(frozen=True, kw_only=True)
class ResponseSettings:
    """What is kept of responses."""

    ttl_days: float = setting(
        "RESPONSE_TTL_DAYS",
        read.days(0, 36_500),
        "30",
        "Days that a response is kept, in the store of answers, for `GET /v1/responses/{id}` and "
        "`previous_response_id`; 0 keeps none.",
    )
