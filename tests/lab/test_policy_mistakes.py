"""Typical mistakes in policies, as stock kubectl tells them: refused, or warned about."""

import pytest

from lab.running_lab import RunningLab

HEAD = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: mistake}
spec:
"""
SUBJECT = "  endpointSelector: {matchLabels: {app: a}}\n"
NAME = "kubernetes.io/metadata.name"
PODS = "io.kubernetes.pod.namespace"


def ports(text: str) -> str:
    return f"{SUBJECT}  ingress: [{{toPorts: [{{ports: [{text}]}}]}}]"


REFUSED = [
    (f"{SUBJECT}  ingres: [{{}}]", "did you mean ingress?"),
    (f"{SUBJECT}  ingress: [{{fromEndpoint: [{{}}]}}]", "did you mean fromEndpoints?"),
    (ports("{port: 80}"), 'is not text; write "80"'),
    (ports("{port: '80', protocol: tcp}"), 'supported values: "TCP"'),
    (f"{SUBJECT}  ingress: [{{fromCIDR: [10.0.0.0/33]}}]", "must be of type cidr"),
    (f"{SUBJECT}  ingress: [{{fromEntities: [wolrd]}}]", 'Unsupported value: "wolrd"'),
    ("  ingress: [{}]", "needs exactly one of endpointSelector, nodeSelector"),
    ("  endpointSelector: {}", "has no rules; write ingress or egress"),
]
WARNED = [
    (
        f"  endpointSelector: {{matchLabels: {{{PODS}: other}}}}\n  ingress: [{{}}]",
        "names namespace other, and a policy selects in its own only: default",
    ),
    (
        f"{SUBJECT}  ingress: [{{fromEndpoints: [{{matchLabels: {{{NAME}: x}}}}]}}]",
        f"write k8s:{PODS}",
    ),
    (
        f"{SUBJECT}  egress: [{{toCIDRSet: [{{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}}]",
        "agents will refuse this policy",
    ),
    (f"{SUBJECT}  egress: [{{toFQDNs: [{{matchName: a.example}}]}}]", "not supported yet"),
    (ports("{port: '80', endPort: 70, protocol: TCP}"), "70 is below port 80"),
    (ports("{port: '80'}"), "has no protocol"),
    (f"{SUBJECT}  ingress: [{{}}, {{}}]", "matches nothing"),
]


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_a_mistake_is_refused_with_what_was_meant(lab: RunningLab, spec: str, words: str) -> None:
    done = lab.kubectl("apply", "-f", "-", text=HEAD + spec)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(("spec", "words"), WARNED)
def test_what_is_legal_and_odd_is_warned_about(lab: RunningLab, spec: str, words: str) -> None:
    done = lab.kubectl("apply", "-f", "-", "--dry-run=server", text=HEAD + spec)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("Warning: ")
    assert words in done.stderr


def test_a_policy_without_mistakes_is_created_without_words(lab: RunningLab) -> None:
    text = HEAD + ports("{port: '80', protocol: TCP}")
    done = lab.kubectl("apply", "-f", "-", "--dry-run=server", text=text)
    assert (done.returncode, done.stderr) == (0, "")
