"""Lines of rules, against YAML written the way kubectl writes it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from cilia.agent.rule_places import kubectl_line, rule_place
from cilia.model.rules import FILE, Direction, PolicyKey
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.trial.documents import parse_documents
from cilia.state import policies
from cilia.state.policies import PolicyObject

KEY = PolicyKey("CiliumNetworkPolicy", "default", "rule1")
CONTENT: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {
        "name": "rule1", "namespace": "default", "uid": "u", "generation": 1,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"a":1}\n'},
    },
    "spec": {
        "description": "two\nlines",
        "endpointSelector": {"matchLabels": {"org": "empire"}},
        "egressDeny": [{"toCIDR": ["10.0.0.0/8", "fd00::/8"]}],
        "ingress": [
            {},
            {"fromEndpoints": [{}, {"matchLabels": {"a": "b"}}],
             "toPorts": [{"ports": [{"port": "80"}, {"port": "81", "protocol": "TCP"}]}]},
            {"fromEntities": ["world"]},
        ],
    },
}  # fmt: skip
PATHS = [
    "spec", "spec.egressDeny[0]", "spec.ingress", "spec.ingress[0]", "spec.ingress[1]",
    "spec.ingress[2]", "spec.ingress[1].toPorts[0].ports[1]",
]  # fmt: skip


class AsKubectl(yaml.SafeDumper):
    """Text of several lines as a block, as kubectl does."""


def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


AsKubectl.add_representer(str, block)


def shown() -> str:
    metadata = CONTENT["metadata"] | {"creationTimestamp": "now", "resourceVersion": "7"}
    whole = CONTENT | {"metadata": metadata, "status": {"enforced": "1/1"}}
    return str(yaml.dump(whole, Dumper=AsKubectl, sort_keys=True, width=10**6))


@pytest.mark.parametrize("path", PATHS)
def test_the_line_is_that_of_the_yaml(path: str) -> None:
    document = next(parse_documents(shown(), "x"))

    assert f"x:{kubectl_line(CONTENT, path)}" == document.place_of(path)


def test_what_is_not_there_has_no_line() -> None:
    assert kubectl_line(CONTENT, "spec.ingress[3]") == 0
    assert kubectl_line(CONTENT, "specs[0]") == 0


def rule(path: str) -> ProvenanceRule:
    return ProvenanceRule(KEY, path, 1, Direction.INGRESS, "allow")


def test_an_applied_object_is_named_as_kubectl_names_it() -> None:
    table = policies.table()
    table.upsert(
        PolicyObject(KEY.kind, KEY.namespace, KEY.name, "u", 1, msgspec.json.encode(CONTENT))
    )

    line = kubectl_line(CONTENT, "spec.ingress[1]")
    assert rule_place(table, rule("spec.ingress[1]")) == f"cnp/default/rule1:{line}"
    assert rule_place(table, rule("spec.ingress[9]")) == "cnp/default/rule1"


def test_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("# why\n" + shown())
    document = next(parse_documents(file.read_text(), str(file)))
    text = msgspec.json.encode(document.content)
    table = policies.table()
    table.upsert(PolicyObject(KEY.kind, KEY.namespace, KEY.name, document.place, 1, text, FILE))
    written = msgspec.structs.replace(
        rule("spec.ingress[1]"), policy=msgspec.structs.replace(KEY, source=FILE)
    )
    assert rule_place(table, written) == document.place_of("spec.ingress[1]")
    assert rule_place(table, rule("spec.ingress[1]")) == ""
    file.unlink()
    assert rule_place(table, written) == document.place


def test_an_object_that_is_gone_has_no_place() -> None:
    assert rule_place(policies.table(), rule("spec")) == ""
