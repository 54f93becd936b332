"""The messages of ``open_inference.proto``, in a pool of their own: clients of others bring some by the same names.

They are made of the compiled file and not of code that a compiler makes, which asks for the protobuf of its own version
or a later one, and tritonclient for an earlier.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

COMPILED = Path(__file__).with_name("open_inference.binpb")
SERVICE = "inference.GRPCInferenceService"

_pool = DescriptorPool()
for _file in FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
    _pool.AddSerializedFile(_file.SerializeToString())


def message(name: str) -> Any:
    """Return the class of a message."""
    return GetMessageClass(_pool.FindMessageTypeByName(f"inference.{name}"))
