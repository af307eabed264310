"""What became of a workflow run: for those whose answer was lost on the way."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from pydantic import ValidationError

from opendify.dify.calls import DifyCall
from opendify.errors import DifyError, WorkflowRunNotFound
from opendify.owners import Owner
from opendify.records import AppProfile
from opendify.runs.calls import CallTools
from opendify.runs.person import Person
from opendify.settings import DifyApp
from opendify.translate.cleaning import clean
from opendify.translate.run_ids import open_run_id
from opendify.wire.dify_extras import WorkflowRun

_RUN_ID = re.compile(r"[0-9A-Za-z-]{1,64}")


class WorkflowRuns:
    """Looks runs up; Dify shows them to every user of an app, so that ids are sealed by us."""

    def __init__(self, tools: CallTools) -> None:
        self._owners = tools.owners
        self._discovery = tools.discovery
        self._calls = tools.calls

    def find(self, sealed_id: str, model: str, person: Person) -> WorkflowRun:
        """The run, as far as it went.

        Raises:
            WorkflowRunNotFound: It is not this person's, or Dify does not know it.
        """
        owner = self._owners.of_person(model, person.caller, person.context)
        app, run_id = opened_run(sealed_id, self._owners.who_may_answer(owner, person.caller))
        person.observation.model = app.name
        call = DifyCall("GET", f"/workflows/run/{quote(run_id, safe='')}")
        answer = self._calls.read_json(app, call, person.client, is_paid=False)
        # Of a run that it does not know, Dify sends a row of nulls.
        if isinstance(answer, Mapping) and answer.get("status") is None:
            raise _not_found()
        try:
            run = WorkflowRun.model_validate(answer)
        except ValidationError as error:
            raise DifyError("Dify answered in a form that is not known") from error
        shown: dict[str, object] = {"id": sealed_id, "error": run.error and clean(run.error)}
        if may_be_moderated(self._discovery.profile(app)):
            # The row holds what the model said; what moderation left of it stands in the conversation.
            shown["outputs"] = None
        return run.model_copy(update=shown)


def may_be_moderated(profile: AppProfile) -> bool:
    """Whether a run may have said what its app took back; workflows are not moderated."""
    return profile.mode == "advanced-chat" and profile.is_moderated is not False


def opened_run(sealed_id: str, owners: Sequence[Owner]) -> tuple[DifyApp, str]:
    """The app that ran it, which may have been a fallback of the one that was asked; and Dify's id.

    Raises:
        WorkflowRunNotFound: It is none of theirs.
    """
    for owner in owners:
        run_id = open_run_id(sealed_id, app_key=owner.app.api_key, user=owner.user)
        if run_id is not None and _RUN_ID.fullmatch(run_id):
            return owner.app, run_id
    raise _not_found()


def _not_found() -> WorkflowRunNotFound:
    return WorkflowRunNotFound(
        "This user began no such workflow run; its id is the one in the header 'X-Dify-Workflow-Run-Id'."
    )
