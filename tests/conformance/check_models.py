"""`/models`."""

from urllib.parse import quote

from tests.conformance.judge import Judge

UNKNOWN_MODEL = "no-such-model-zz"


def check_models(judge: Judge) -> None:
    """The list, one model, and one that does not exist."""
    model = judge.target.model
    listed = judge.read_json("GET /models", judge.ask("GET", "/models"))
    if listed is not None:
        judge.check_schema("GET /models", "ListModelsResponse", listed)
        names = [each.get("id") for each in listed.get("data", [])]
        judge.check("ids are unique and not empty", all(names) and len(names) == len(set(names)), names)
        judge.check("the list has the model under test", model in names, names)
    path = f"/models/{quote(model, safe='')}"
    one = judge.read_json("GET /models/{id}", judge.ask("GET", path))
    if one is not None:
        judge.check_schema("GET /models/{id}", "Model", one)
        judge.check("GET /models/{id}: the id that was asked for", one.get("id") == model, one)
    unknown = judge.ask("GET", f"/models/{UNKNOWN_MODEL}")
    judge.check_error("GET /models of an unknown id", unknown, [404], ["model_not_found"])
    judge.check_error("DELETE /models", judge.ask("DELETE", "/models"), [404, 405])
