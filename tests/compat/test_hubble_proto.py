"""Our .proto files are Hubble's on the wire: same packages, names, numbers and types.

`hubble_proto.tsv` holds the facts of Hubble's API at Cilium 1.19.4, one a line: files,
methods, fields (name, number, type, cardinality, oneof, flags), values of enums (name,
number, flags), reserved numbers and deprecated messages.
"""

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.proto.observer import observer_pb2, observer_pb2_grpc
from cilia.hubble.proto.peer import peer_pb2, peer_pb2_grpc
from cilia.hubble.proto.relay import relay_pb2

FACTS = Path(__file__).with_name("hubble_proto.tsv")
MODULES = (flow_pb2, observer_pb2, peer_pb2, relay_pb2)


def fact(*parts: object) -> str:
    return "\t".join(map(str, parts)).rstrip("\t")


def ranges(message: DescriptorProto | EnumDescriptorProto) -> str:
    past = 1 if isinstance(message, DescriptorProto) else 0  # an enum's ranges name their last
    pairs = [(r.start, r.end - past) for r in message.reserved_range]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in pairs)


def type_of(field: FieldDescriptorProto) -> str:
    named = field.type_name.removeprefix(".")
    return named or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def field_facts(owner: str, message: DescriptorProto, field: FieldDescriptorProto) -> str:
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    cardinality = "repeated" if repeated else "optional" if field.proto3_optional else "singular"
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    flags = "deprecated" if field.options.deprecated else ""
    name = f"{owner}.{field.name}"
    return fact("field", name, field.number, type_of(field), cardinality, oneof, flags)


def enum_facts(scope: str, enum: EnumDescriptorProto) -> Iterator[str]:
    name = f"{scope}.{enum.name}"
    if enum.reserved_range:
        yield fact("reserved", name, ranges(enum))
    for value in enum.value:
        flags = "deprecated" if value.options.deprecated else ""
        yield fact("value", f"{name}.{value.name}", value.number, flags)


def message_facts(scope: str, message: DescriptorProto) -> Iterator[str]:
    name = f"{scope}.{message.name}"
    if not message.field:
        yield fact("empty", name)
    if message.reserved_range:
        yield fact("reserved", name, ranges(message))
    if message.options.deprecated:
        yield fact("deprecated", name)
    for field in message.field:
        yield field_facts(name, message, field)
    for enum in message.enum_type:
        yield from enum_facts(name, enum)
    for inner in message.nested_type:
        yield from message_facts(name, inner)


def file_facts(file: FileDescriptorProto) -> Iterator[str]:
    public = {file.dependency[index] for index in file.public_dependency}
    imports = [f"public {name}" if name in public else name for name in file.dependency]
    yield fact("file", file.name, file.package, file.options.go_package, ";".join(imports))
    for enum in file.enum_type:
        yield from enum_facts(file.package, enum)
    for message in file.message_type:
        yield from message_facts(file.package, message)
    for service in file.service:
        for method in service.method:
            path = f"/{file.package}.{service.name}/{method.name}"
            asks = "stream" if method.client_streaming else "unary"
            gives = "stream" if method.server_streaming else "unary"
            yield fact("method", path, method.input_type[1:], asks, method.output_type[1:], gives)


def test_descriptors_say_what_hubble_says() -> None:
    ours = set()
    for module in MODULES:
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        assert file.syntax == "proto3"
        ours |= set(file_facts(file))
    theirs = set(FACTS.read_text().splitlines())
    assert sorted(theirs - ours) == []
    assert sorted(ours - theirs) == []


def test_generated_services_have_every_method() -> None:
    methods = [
        line.split("\t")[1] for line in FACTS.read_text().splitlines() if line.startswith("method")
    ]
    servicers = {
        "observer.Observer": observer_pb2_grpc.ObserverServicer,
        "peer.Peer": peer_pb2_grpc.PeerServicer,
    }
    assert len(methods) == 7
    for path in methods:
        _, service, method = path.split("/")
        assert hasattr(servicers[service], method)
