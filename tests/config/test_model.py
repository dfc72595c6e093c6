"""The model documents itself: every key says what it is, and every stand-in is a value that it takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from gatepost.config.faults import inner_type
from gatepost.config.model import Document


def fields(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel], str, FieldInfo]]:
    for name, field in model.model_fields.items():
        where = f"{path}.{field.alias or name}".lstrip(".")
        yield where, model, name, field
        inner = inner_type(field.annotation, BaseModel)
        if inner is not None:
            yield from fields(inner, where)


FIELDS = list(fields(Document))


@pytest.mark.parametrize(("where", "field"), [(where, field) for where, _, _, field in FIELDS])
def test_every_key_is_documented(where: str, field: FieldInfo) -> None:
    assert field.description
    assert field.description.endswith(".")


REQUIRED = [(where, model, name) for where, model, name, field in FIELDS if field.is_required()]


@pytest.mark.parametrize(("where", "model", "name"), REQUIRED)
def test_every_required_key_has_a_stand_in_that_it_takes(
    where: str, model: type[BaseModel], name: str
) -> None:
    field = model.model_fields[name]
    assert field.examples, where
    adapter = TypeAdapter(model)
    others = {
        f.alias or n: f.examples[0] for n, f in model.model_fields.items() if f.is_required() and f.examples
    }
    adapter.validate_python(others)


LISTS_OF_WORDS = [
    (where, field)
    for where, _, _, field in FIELDS
    if "tuple" in str(field.annotation) and inner_type(field.annotation, BaseModel) is None
]


@pytest.mark.parametrize(("where", "field"), LISTS_OF_WORDS)
def test_every_list_of_words_has_a_stand_in_for_an_element(where: str, field: FieldInfo) -> None:
    assert field.examples, where
    assert isinstance(field.examples[0], list)


def test_no_key_of_the_model_is_a_mutable_default() -> None:
    assert Document().listeners is Document().listeners
    assert Document() == Document()
