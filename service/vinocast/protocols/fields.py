"""The types of fields in JSON, each bounded: what pydantic checks of a value, and what the reference says of it."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from pydantic import Field, InstanceOf, StrictInt, StrictStr, WithJsonSchema

from vinocast.protocols.numbers import Numbers
from vinocast.protocols.series import MOST_CHARACTERS, SeriesText

# Of a text, in characters, and of an array that is looked into here, in elements.
MOST = 1 << 16
ROW = {"type": "array", "items": {"type": "number"}}
# What holds numbers or pictures is not looked into here: who reads it knows the model's shape, and checks it in bulk.
Window = Annotated[InstanceOf[list[Any]] | InstanceOf[Numbers], WithJsonSchema({"type": "array", "items": ROW})]
RowOrRows = Annotated[InstanceOf[list[Any]], WithJsonSchema({"anyOf": [ROW, {"type": "array", "items": ROW}]})]
Base64 = Annotated[InstanceOf[str], WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Grids = Annotated[
    InstanceOf[list[Any]],
    WithJsonSchema(
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}}
    ),
]
Rasters = Annotated[
    InstanceOf[list[Any]],
    WithJsonSchema({"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}),
]
Text = Annotated[StrictStr, Field(max_length=MOST)]
RequestId = Text | StrictInt
# JSON text, which parse_json has put in the place of the value: any that can be written again.
Metadata = Annotated[InstanceOf[orjson.Fragment], WithJsonSchema({})]
StreamName = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Targets = Annotated[list[Text | StrictInt], Field(min_length=1, max_length=MOST, fail_fast=True)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=256)]
Channels = Annotated[list[Name], Field(min_length=1, max_length=MOST, fail_fast=True)]
Levels = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=99, fail_fast=True)]
# A date or a time, or a step between two.
Time = Annotated[StrictStr, Field(max_length=MOST_CHARACTERS)]
Inputs = Annotated[
    InstanceOf[list[Any]] | InstanceOf[SeriesText],
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "item_id": {"anyOf": [{"type": "string", "maxLength": MOST_CHARACTERS}, {"type": "integer"}]},
                    "target": {"type": "array", "items": {"type": ["number", "null"]}, "minItems": 1},
                    "start": {"type": "string", "maxLength": MOST_CHARACTERS},
                },
                "required": ["target"],
                "additionalProperties": False,
            },
            "examples": [[{"item_id": "shop 1", "target": [3.5, 4, 5.25], "start": "2026-01-31"}]],
        }
    ),
]
Shape = Annotated[list[StrictInt], Field(min_length=2, max_length=2, fail_fast=True)]
