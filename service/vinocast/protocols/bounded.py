"""Whether a schema is bounded: that is found when it is made, so that none can be written that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class Bounded(BaseModel):
    """What a request holds: its fields are checked one behind the other, and the first fault ends it.

    Its schema is built for the first request of its kind, which comes while the models load.
    """

    # What is not known is refused by who reads it, with the nearest name: pydantic need not look for it each time.
    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True, defer_build=True)
    known: ClassVar[frozenset[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Collect the names of the fields once."""
        cls.known = frozenset(cls.model_fields)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build the schema, before it takes its first request; raises TypeError for a field that is not bounded."""
        schema = handler(source)
        check_bounded(handler.resolve_ref_schema(schema), cls.__name__)
        return schema


def check_bounded(schema: Mapping[str, Any], path: str) -> None:
    """Raise TypeError for a core schema of pydantic by which a request could cost more than to parse it.

    What pydantic looks into is of bounded length, and given up at its first fault: an error for each of a million
    elements takes seconds and gigabytes. What it does not look into, such as a window, is an ``InstanceOf`` its type:
    who reads it compares its length with what is expected before anything else.
    """
    match schema:
        case {"type": "list", "max_length": int(), "fail_fast": True, "items_schema": element}:
            check_bounded(element, f"{path}[…]")
        case {"type": "str", "max_length": int()}:
            pass
        case {"type": "int" | "float" | "bool" | "literal" | "is-instance"}:
            pass
        case {"type": "union", "choices": choices}:
            for choice in choices:
                check_bounded(choice, path)
        case {"type": "model-fields", "fields": fields}:
            for name, field in fields.items():
                check_bounded(field["schema"], f"{path}.{name}")
        case {"type": "model" | "default" | "nullable" | "function-after", "schema": inner}:
            check_bounded(inner, path)
        case {"type": "json-or-python", "python_schema": inner}:
            check_bounded(inner, path)
        case {"type": kind}:
            raise TypeError(
                f"{path}: a {kind} that is not bounded: of a string say max_length, of a list max_length and "
                "fail_fast, or have it an InstanceOf its type where the schema need not look into it"
            )
