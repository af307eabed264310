from opendify.records import AppProfile, InputField
from opendify.translate.openai_models import model_shape


def test_a_model_has_the_four_required_keys() -> None:
    model = dict(model_shape("translator", None))

    assert isinstance(model.pop("created"), int)
    assert model == {"id": "translator", "object": "model", "owned_by": "dify"}


def test_created_never_changes() -> None:
    assert model_shape("a", None)["created"] == model_shape("b", None)["created"] == 1_704_067_200


def test_a_known_app_tells_its_mode_name_and_inputs() -> None:
    profile = AppProfile(
        "workflow",
        form=(InputField("lang", "select", required=True, options=("en",)),),
        name="T",
        description="D",
    )

    assert model_shape("translator", profile)["dify"] == {
        "mode": "workflow",
        "name": "T",
        "description": "D",
        "inputs": [{"name": "lang", "type": "select", "required": True}],
    }


def test_the_models_own_description_comes_before_the_apps() -> None:
    shape = model_shape("t", AppProfile("chat", description="Dify's"), "The operator's")

    assert shape["dify"] == {"mode": "chat", "name": "", "description": "The operator's", "inputs": []}
