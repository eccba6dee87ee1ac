"""Writes the protobuf field numbers of Kubernetes' built-in kinds.

    python tools/kubernetes_schemas/wire.py API APIMACHINERY > .../wire.json

Read from the tags in the public Go modules k8s.io/api and k8s.io/apimachinery
(`go mod download`). Output: a JSON object, `<group>.<version>.<Type>` ->
field number -> [JSON name, kind]. A kind is `s`tring, `i`nteger, `b`oolean,
b`y`tes, or a message's name; before it `[]` for a list, `{}` for a map, `*`
for what is kept when empty. An empty JSON name: the message's fields lie in
the outer object.
"""

import json
import re
import sys
from pathlib import Path

GROUPS = (
    "apps", "authentication", "authorization", "autoscaling", "batch", "coordination", "core",
    "discovery", "networking", "policy", "rbac",
)  # fmt: skip
META = "meta.v1."
FIELD = re.compile(r'^\t(?:(\w+)\s+)?(\S+)\s+`json:"(\w*)(,\w+)?[^"]*" .*?protobuf:"\w+,(\d+)')
SCALARS = {
    "string": "s", "int32": "i", "int64": "i", "int": "i", "uint32": "i", "bool": "b",
    "byte": "y", "[]byte": "y", "types.UID": "s",
}  # fmt: skip


def aliases(text: str) -> dict[str, str]:
    """Named types that are no structs."""
    return dict(re.findall(r"^type (\w+) ((?:string|bool|u?int\d*|\[\]|map\[).*?)$", text, re.M))


class Group:
    """One `types.go`."""

    def __init__(self, name: str, text: str, core: dict[str, str]) -> None:
        self._name = name
        self._aliases = aliases(text)
        self._core = core
        self._text = text

    def kind(self, go: str) -> str:
        """The kind of a Go type."""
        go = go.removeprefix("*")
        if go in SCALARS:
            return SCALARS[go]
        if go.startswith("[]"):
            return "[]" + self.kind(go[2:])
        if found := re.match(r"map\[[\w.]+\](.*)", go):
            return "{}" + self.kind(found[1])
        package, _, name = go.rpartition(".")
        if package in ("v1", "corev1", "core") and name in self._core:
            return self.kind(self._core[name])
        if not package and name in self._aliases:
            return self.kind(self._aliases[name])
        home = {
            "": self._name, "metav1": "meta.v1", "v1": "core.v1", "corev1": "core.v1",
            "resource": "resource", "intstr": "intstr", "runtime": "runtime",
        }[package]  # fmt: skip
        return f"{home}.{name}"

    def messages(self) -> dict[str, dict[str, list[str]]]:
        """Every struct with its fields."""
        found: dict[str, dict[str, list[str]]] = {}
        fields: dict[str, list[str]] = {}
        for line in self._text.splitlines():
            if struct := re.match(r"^type (\w+) struct", line):
                fields = found.setdefault(f"{self._name}.{struct[1]}", {})
            elif field := FIELD.match(line):
                _, go, name, _, number = field.groups()
                kept = "*" if go.startswith("*") else ""
                fields[number] = [name, kept + self.kind(go)]
        return {name: fields for name, fields in found.items() if fields}


def main() -> None:
    """Prints the messages of all groups."""
    api, machinery = Path(sys.argv[1]), Path(sys.argv[2])
    core_text = (api / "core/v1/types.go").read_text()
    core = aliases(core_text)
    meta_text = (machinery / "pkg/apis/meta/v1/types.go").read_text()
    messages = Group("meta.v1", meta_text, {}).messages()
    for name in GROUPS:
        text = (api / name / "v1/types.go").read_text()
        messages |= Group(f"{name}.v1", text, core).messages()
    json.dump(messages, sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
