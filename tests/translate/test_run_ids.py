"""A run's id opens only for whom it was sealed."""

import pytest

from opendify.translate.run_ids import open_run_id, seal_run_id

RUN = "f2376432-8fca-4380-8ee9-4f481ee4decd"
SEALED = seal_run_id(RUN, app_key="app-key", user="team:anna")


def test_it_opens_for_the_same_app_and_user() -> None:
    assert SEALED.startswith(f"{RUN}.")
    assert open_run_id(SEALED, app_key="app-key", user="team:anna") == RUN


@pytest.mark.parametrize(
    ("sealed", "app_key", "user"),
    [
        (SEALED, "app-key", "team:bob"),
        (SEALED, "another-key", "team:anna"),
        (RUN, "app-key", "team:anna"),
        (f"{RUN}.", "app-key", "team:anna"),
        (SEALED[:-1], "app-key", "team:anna"),
        (SEALED.replace("f", "e", 1), "app-key", "team:anna"),
        (SEALED + "ü", "app-key", "team:anna"),
        ("", "app-key", "team:anna"),
    ],
)
def test_it_opens_for_nobody_else(sealed: str, app_key: str, user: str) -> None:
    assert open_run_id(sealed, app_key=app_key, user=user) is None
