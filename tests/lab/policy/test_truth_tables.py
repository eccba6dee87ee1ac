"""Kubernetes NetworkPolicy, each policy's whole truth table: who reaches whom on what.

Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

import pytest

from lab.policy.case import Case, network_policy
from lab.policy.cluster import API, Cluster
from lab.policy.truth import PING, TCP, UDP, allow, deny

TO_A = "podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress], ingress"
OF_A = "podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress"

DEFAULTS = (
    Case(
        "deny ingress: nobody comes in, neighbours neither",
        network_policy("{podSelector: {}, policyTypes: [Ingress]}"),
        (deny("*", "x/*"),),
    ),
    Case(
        "deny egress: nobody goes out",
        network_policy("{podSelector: {}, policyTypes: [Egress]}"),
        (deny("x/*", "*"),),
    ),
    Case(
        "deny both",
        network_policy("{podSelector: {}, policyTypes: [Ingress, Egress]}"),
        (deny("*", "x/*"), deny("x/*", "*")),
    ),
    Case(
        "no types: ingress, and egress only if there are such rules",
        network_policy("{podSelector: {matchLabels: {pod: a}}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "no types, with egress rules: both",
        network_policy("{podSelector: {matchLabels: {pod: a}}, egress: [{}]}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "an empty list of rules allows nothing",
        network_policy(f"{{{TO_A}: []}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "an empty rule allows everything",
        network_policy(f"{{{TO_A}: [{{}}]}}"),
        (),
    ),
    Case(
        "empty lists in a rule mean anyone and any port",
        network_policy(f"{{{TO_A}: [{{from: [], ports: []}}]}}"),
        (),
    ),
    Case(
        "an empty rule for egress",
        network_policy("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"),
        (),
    ),
)

PEERS = (
    Case(
        "by pod label: pods of the policy's own namespace",
        network_policy(f"{{{TO_A}: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}]}}]}}"),
        (deny("*", "x/a"), allow("x/b", "x/a")),
    ),
    Case(
        "by namespace label",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{matchLabels: {{team: y}}}}}}]}}]}}"
        ),
        (deny("*", "x/a"), allow("y/*", "x/a")),
    ),
    Case(
        "by the name that every namespace carries",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: "
            "{matchLabels: {kubernetes.io/metadata.name: z}}}]}]}"
        ),
        (deny("*", "x/a"), allow("z/*", "x/a")),
    ),
    Case(
        "both in one peer: both must be true",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{matchLabels: {{team: y}}}}, "
            "podSelector: {matchLabels: {pod: b}}}]}]}"
        ),
        (deny("*", "x/a"), allow("y/b", "x/a")),
    ),
    Case(
        "both in two peers: either is enough",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{matchLabels: {{team: y}}}}}}, "
            "{podSelector: {matchLabels: {pod: b}}}]}]}"
        ),
        (deny("*", "x/a"), allow("y/*", "x/a"), allow("x/b", "x/a")),
    ),
    Case(
        "an empty pod selector: the whole namespace, not the world",
        network_policy(f"{{{TO_A}: [{{from: [{{podSelector: {{}}}}]}}]}}"),
        (deny("*", "x/a"), allow("x/*", "x/a")),
    ),
    Case(
        "an empty namespace selector: all pods, not the world",
        network_policy(f"{{{TO_A}: [{{from: [{{namespaceSelector: {{}}}}]}}]}}"),
        (deny("*", "x/a"), allow("?/*", "x/a")),
    ),
    Case(
        "expressions over namespaces: NotIn, and Exists over pods",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{matchExpressions: "
            "[{key: team, operator: NotIn, values: [x, z]}, {key: team, operator: Exists}]}, "
            "podSelector: {matchExpressions: [{key: pod, operator: Exists}]}}]}]}"
        ),
        (deny("*", "x/a"), allow("y/*", "x/a")),
    ),
    Case(
        "expressions over pods: In",
        network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{}}, podSelector: {{matchExpressions: "
            "[{key: pod, operator: In, values: [b, c]}]}}]}]}"
        ),
        (deny("*", "x/a"), allow("?/[bc]", "x/a")),
    ),
    Case(
        "expressions over subjects: DoesNotExist selects nobody here, NotIn some",
        network_policy(
            "{podSelector: {matchExpressions: [{key: pod, operator: DoesNotExist}]}}", name="nobody"
        )
        + network_policy(
            "{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a, b]}]}}"
        ),
        (deny("*", "x/c"),),
    ),
    Case(
        "egress by namespace and pod",
        network_policy(
            f"{{{OF_A}: [{{to: [{{namespaceSelector: {{matchLabels: {{team: y}}}}, "
            "podSelector: {matchLabels: {pod: b}}}]}]}"
        ),
        (deny("x/a", "*"), allow("x/a", "y/b")),
    ),
)

PORTS = (
    Case(
        "by number: TCP if nothing else is said",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: 80}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", port=80, protocol=TCP)),
    ),
    Case(
        "by name, which belongs to one protocol",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: serve-81-udp, protocol: UDP}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", port=81, protocol=UDP)),
    ),
    Case(
        "a name that is a port of the other protocol allows nothing",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: serve-81-udp, protocol: TCP}}]}}]}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "by a name that means another port on each pod",
        network_policy(
            "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: web}]}]}"
        ),
        (
            deny("*", "x/*"),
            allow("*", "x/[ac]", port=80, protocol=TCP),
            allow("*", "x/b", port=81, protocol=TCP),
        ),
    ),
    Case(
        "egress by a name that means another port on each pod",
        network_policy(f"{{{OF_A}: [{{ports: [{{port: web}}]}}]}}"),
        (
            deny("x/a", "*"),
            allow("x/a", "?/[ac]", port=80, protocol=TCP),
            allow("x/a", "?/b", port=81, protocol=TCP),
        ),
    ),
    Case(
        "by range",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: 70, endPort: 80}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", port=80, protocol=TCP)),
    ),
    Case(
        "by range over both ports",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: 1, endPort: 81, protocol: UDP}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", protocol=UDP)),
    ),
    Case(
        "by protocol alone",
        network_policy(f"{{{TO_A}: [{{ports: [{{protocol: UDP}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", protocol=UDP)),
    ),
    Case(
        "SCTP lets in neither TCP nor UDP of the same number",
        network_policy(f"{{{TO_A}: [{{ports: [{{port: 80, protocol: SCTP}}]}}]}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "peers and ports of one rule: both must be true",
        network_policy(
            f"{{{TO_A}: [{{from: [{{podSelector: {{}}}}], "
            "ports: [{port: 80}, {port: 81, protocol: UDP}]}]}"
        ),
        (
            deny("*", "x/a"),
            allow("x/*", "x/a", port=80, protocol=TCP),
            allow("x/*", "x/a", port=81, protocol=UDP),
        ),
    ),
)

BLOCKS = (
    Case(
        "block with an exception, in: the world, by its addresses",
        network_policy(
            f"{{{TO_A}: [{{from: [{{ipBlock: {{cidr: 1.0.0.0/8, except: [1.0.0.0/24]}}}}, "
            "{ipBlock: {cidr: '2606:4700::/32', except: ['2606:4700:4700::1001/128']}}]}]}"
        ),
        (deny("*", "x/a"), allow("world/cloudflare", "x/a")),
    ),
    Case(
        "block with an exception, out, and a port",
        network_policy(
            f"{{{OF_A}: [{{to: [{{ipBlock: {{cidr: 0.0.0.0/0, except: [1.1.1.0/24]}}}}, "
            "{ipBlock: {cidr: '2606:4700:4700::1111/128'}}], ports: [{port: 81}]}]}"
        ),
        (
            deny("x/a", "*"),
            allow("x/a", "world/*", port=81, protocol=TCP, family=4),
            deny("x/a", "world/cloudflare", family=4),
            allow("x/a", "world/cloudflare", port=81, protocol=TCP, family=6),
        ),
    ),
    Case(
        "blocks are about the world: no block reaches pods or nodes",
        network_policy(
            f"{{{OF_A}: [{{to: [{{ipBlock: {{cidr: 0.0.0.0/0}}}}, "
            "{ipBlock: {cidr: '::/0'}}]}]}"
        ),
        (deny("x/a", "*"), allow("x/a", "world/*"), allow("x/a", API)),
    ),
)

TOGETHER = (
    Case(
        "policies add up",
        network_policy("{podSelector: {}, policyTypes: [Ingress]}", name="closed")
        + network_policy(
            f"{{{TO_A}: [{{from: [{{podSelector: {{matchLabels: {{pod: b}}}}}}], "
            "ports: [{port: 80}]}]}",
            name="neighbour",
        )
        + network_policy(
            f"{{{TO_A}: [{{from: [{{namespaceSelector: {{matchLabels: {{team: y}}}}}}]}}]}}",
            name="team",
        ),
        (deny("*", "x/*"), allow("x/b", "x/a", port=80, protocol=TCP), allow("y/*", "x/a")),
    ),
    Case(
        "both ends must agree",
        network_policy(f"{{{TO_A}: [{{from: [{{namespaceSelector: {{}}}}]}}]}}", name="in")
        + network_policy(
            "{podSelector: {matchLabels: {pod: b}}, policyTypes: [Egress], egress: "
            "[{to: [{namespaceSelector: {matchLabels: {team: x}}}], ports: [{port: 81}]}]}",
            space="y",
            name="out",
        ),
        (
            deny("*", "x/a"),
            allow("?/*", "x/a"),
            deny("y/b", "*"),
            allow("y/b", "x/*", port=81, protocol=TCP),
        ),
    ),
    Case(
        "isolated both ways, with one way in and one way out",
        network_policy(
            "{podSelector: {}, policyTypes: [Ingress, Egress], "
            "ingress: [{from: [{podSelector: {}}]}], egress: [{to: [{podSelector: {}}]}]}"
        ),
        (deny("*", "x/*"), deny("x/*", "*"), allow("x/*", "x/*")),
    ),
    Case(
        "every namespace closed, one door",
        "".join(
            network_policy("{podSelector: {}, policyTypes: [Ingress, Egress]}", space=space)
            for space in "xyz"
        )
        + network_policy(
            "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Ingress], "
            "ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}, "
            "podSelector: {matchLabels: {pod: c}}}], ports: [{port: 80}]}]}",
            name="in",
        )
        + network_policy(
            "{podSelector: {matchLabels: {pod: c}}, policyTypes: [Egress], "
            "egress: [{to: [{namespaceSelector: {matchLabels: {team: x}}, "
            "podSelector: {matchLabels: {pod: a}}}]}]}",
            space="z",
            name="out",
        ),
        (
            deny("*", "[xyz]/*"),
            deny("[xyz]/*", "*"),
            allow("z/c", "x/a", port=80, protocol=TCP),
            deny("z/c", "x/a", protocol=PING),
        ),
    ),
)


def test_without_policy_everyone_reaches_everyone(cluster: Cluster) -> None:
    cluster.check()


@pytest.mark.parametrize(
    "case", [*DEFAULTS, *PEERS, *PORTS, *BLOCKS, *TOGETHER], ids=lambda case: case.name
)
def test_truth_table(cluster: Cluster, case: Case) -> None:
    with cluster.policies(case.text):
        cluster.check(*case.expected)
