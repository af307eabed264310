"""A matter with several settings has a class of its own."""

from dataclasses import dataclass, field

from opendify.configuration import readers as read
from opendify.configuration.fields import documented, read_fields, section, setting

# ruff: noqa: RUF009 - `setting` makes a field, with an immutable default.


@dataclass(frozen=True, kw_only=True)
class Tea:
    sugar: int = setting("TEA_SUGAR", read.whole_number(0, 5), "1", "Lumps.", development_default="3")
    milk: bool = setting("TEA_MILK", read.flag, "false", "Whether there is any.")
    brewing_seconds: int = setting("TEA_TIME", read.whole_number(0, 600), "180", "How long.")
    max_bytes_per_leaf: int = setting("TEA_LEAF", read.whole_number(0, 9), "9", "What is read in it.")


@dataclass(frozen=True, kw_only=True)
class Table:
    environment: str = setting("ENVIRONMENT", read.one_of(("production", "development")), "production", "")
    tea: Tea = section(Tea)
    guests: tuple[str, ...] = field(default=())


def test_its_fields_are_read_with_the_others() -> None:
    faults: list[str] = []

    values = read_fields(Table, {"TEA_MILK": "true"}, faults)

    assert values == {"environment": "production", "tea": Tea(sugar=1, milk=True)}
    assert faults == []


def test_its_defaults_follow_the_environment() -> None:
    assert read_fields(Table, {"ENVIRONMENT": "development"}, [])["tea"] == Tea(sugar=3)


def test_its_faults_are_told_with_the_others() -> None:
    faults: list[str] = []

    read_fields(Table, {"TEA_SUGAR": "9", "ENVIRONMENT": "moon"}, faults)

    assert [fault.partition(" ")[0] for fault in faults] == ["ENVIRONMENT", "TEA_SUGAR"]


def test_its_settings_are_documented_in_their_place() -> None:
    assert list(documented(Table)) == ["ENVIRONMENT", "TEA_SUGAR", "TEA_MILK", "TEA_TIME", "TEA_LEAF"]


def test_the_unit_of_a_number_is_read_from_its_field_s_name() -> None:
    assert [doc.unit for doc in documented(Tea).values()] == ["", "", "seconds", "bytes"]


def test_without_settings_it_has_its_defaults() -> None:
    assert Table().tea == Tea(sugar=1, milk=False)
