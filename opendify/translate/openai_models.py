"""The `Model` objects of `/v1/models`.

Source: https://platform.openai.com/docs/api-reference/models
"""

from collections.abc import Mapping

from opendify.records import AppProfile

# Clients show or sort by it, so it must not change with restarts; Dify tells no date.
_CREATED = 1_704_067_200


def model_shape(name: str, profile: AppProfile | None, description: str = "") -> Mapping[str, object]:
    """One model; `dify` tells what is known of the app."""
    model: dict[str, object] = {"id": name, "object": "model", "created": _CREATED, "owned_by": "dify"}
    about: dict[str, object] = {"description": description} if description else {}
    if profile:
        form = profile.form or ()
        about = {
            "mode": profile.mode,
            "name": profile.name,
            "description": description or profile.description,
            "inputs": [{"name": each.name, "type": each.type, "required": each.required} for each in form],
        }
    return {**model, "dify": about} if about else model
