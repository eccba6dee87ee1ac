"""CiliumNetworkPolicy and its cluster-wide kind, each policy's whole truth table.

Source: https://docs.cilium.io/en/stable/security/policy/language/ and
https://docs.cilium.io/en/stable/security/policy/deny/
"""

import pytest

from lab.policy.case import Case, cilium_policy, clusterwide_policy, network_policy
from lab.policy.cluster import API, Cluster
from lab.policy.truth import PING, TCP, UDP, allow, deny

OF_A = "endpointSelector: {matchLabels: {pod: a}}"
POD = "matchLabels: {pod: %s}"
OF_TEAM_Y = "matchLabels: {'k8s:io.kubernetes.pod.namespace': 'y'}"

ENDPOINTS = (
    Case(
        "a rule with nothing in it closes",
        cilium_policy(f"{{{OF_A}, ingress: [{{}}]}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "both ways, for a whole namespace",
        cilium_policy("{endpointSelector: {}, ingress: [{}], egress: [{}]}"),
        (deny("*", "x/*"), deny("x/*", "*")),
    ),
    Case(
        "an empty selector: every pod of the namespace",
        cilium_policy(f"{{{OF_A}, ingress: [{{fromEndpoints: [{{}}]}}]}}"),
        (deny("*", "x/a"), allow("x/*", "x/a")),
    ),
    Case(
        "an empty list of selectors: nobody, with ports too",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEndpoints: []}}, "
            "{fromEndpoints: [], toPorts: [{ports: [{port: '80'}]}]}]}"
        ),
        (deny("*", "x/a"),),
    ),
    Case(
        "by label: of the own namespace",
        cilium_policy(f"{{{OF_A}, ingress: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}"),
        (deny("*", "x/a"), allow("x/b", "x/a")),
    ),
    Case(
        "egress by label",
        cilium_policy(f"{{{OF_A}, egress: [{{toEndpoints: [{{{POD % 'b'}}}]}}]}}"),
        (deny("x/a", "*"), allow("x/a", "x/b")),
    ),
    Case(
        "by namespace",
        cilium_policy(f"{{{OF_A}, ingress: [{{fromEndpoints: [{{{OF_TEAM_Y}}}]}}]}}"),
        (deny("*", "x/a"), allow("y/*", "x/a")),
    ),
    Case(
        "by label of a namespace",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEndpoints: [{{matchLabels: "
            "{'k8s:io.cilium.k8s.namespace.labels.team': z, 'k8s:pod': b}}]}]}"
        ),
        (deny("*", "x/a"), allow("z/b", "x/a")),
    ),
    Case(
        "by expressions",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEndpoints: [{{matchExpressions: ["
            "{key: 'k8s:io.kubernetes.pod.namespace', operator: In, values: ['y', z]}, "
            "{key: pod, operator: NotIn, values: [c]}, {key: role, operator: Exists}, "
            "{key: absent, operator: DoesNotExist}]}]}]}"
        ),
        (deny("*", "x/a"), allow("[yz]/[ab]", "x/a")),
    ),
    Case(
        "specs add up, each with its own subjects",
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        "metadata: {name: case, namespace: x}\nspecs:\n"
        f"- {{{OF_A}, ingress: [{{fromEndpoints: [{{{POD % 'c'}}}]}}]}}\n"
        f"- {{endpointSelector: {{{POD % 'b'}}}, egress: [{{toEndpoints: [{{{POD % 'a'}}}]}}]}}\n",
        (deny("*", "x/a"), allow("x/c", "x/a"), deny("x/b", "*")),
    ),
)

PORTS = (
    Case(
        "ports alone: anyone, the world too, and no ping",
        cilium_policy(f"{{{OF_A}, ingress: [{{toPorts: [{{ports: [{{port: '80'}}]}}]}}]}}"),
        (deny("*", "x/a"), allow("*", "x/a", port=80)),
    ),
    Case(
        "one protocol",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: UDP}}]}}]}}]}}"
        ),
        (deny("*", "x/a"), allow("*", "x/a", port=80, protocol=UDP)),
    ),
    Case(
        "a range",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toPorts: [{{ports: "
            "[{port: '81', endPort: 90, protocol: TCP}]}]}]}"
        ),
        (
            deny("x/a", "*"),
            allow("x/a", "*", port=81, protocol=TCP),
            allow("x/a", "*", port=82, protocol=TCP),
        ),
    ),
    Case(
        "port 0: every port",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{toPorts: [{{ports: [{{port: '0', protocol: TCP}}]}}]}}]}}"
        ),
        (deny("*", "x/a"), allow("*", "x/a", protocol=TCP)),
    ),
    Case(
        "a name, in: the subject's own port",
        cilium_policy(
            "{endpointSelector: {}, ingress: [{fromEndpoints: [{}], "
            "toPorts: [{ports: [{port: web, protocol: TCP}]}]}]}"
        ),
        (
            deny("*", "x/*"),
            allow("x/*", "x/[ac]", port=80, protocol=TCP),
            allow("x/*", "x/b", port=81, protocol=TCP),
        ),
    ),
    Case(
        "a name, out: each peer's own port",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toEndpoints: [{{}}, {{{OF_TEAM_Y}}}], "
            "toPorts: [{ports: [{port: web, protocol: TCP}]}]}]}"
        ),
        (
            deny("x/a", "*"),
            allow("x/a", "[xy]/c", port=80, protocol=TCP),
            allow("x/a", "y/a", port=80, protocol=TCP),
            allow("x/a", "[xy]/b", port=81, protocol=TCP),
        ),
    ),
    Case(
        "ping of one family",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{icmps: [{{fields: [{{type: 8, family: IPv4}}]}}]}}]}}"
        ),
        (deny("*", "x/a"), allow("*", "x/a", protocol=PING, family=4)),
    ),
    Case(
        "ping by name, to pods of the namespace",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toEndpoints: [{{}}], icmps: [{{fields: "
            "[{type: EchoRequest, family: IPv6}, {type: EchoRequest}]}]}]}"
        ),
        (deny("x/a", "*"), allow("x/a", "x/*", protocol=PING)),
    ),
)

OUTSIDE = (
    Case(
        "entity world, both ways",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [world]}}], egress: [{{toEntities: [world]}}]}}"
        ),
        (
            deny("*", "x/a"),
            deny("x/a", "*"),
            allow("world/*", "x/a"),
            allow("x/a", "world/*"),
            allow("x/a", API),
        ),
    ),
    Case(
        "entity cluster: pods and nodes, not the world",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [cluster]}}], "
            "egress: [{toEntities: [cluster]}]}"
        ),
        (deny("world/*", "x/a"), deny("x/a", "world/*")),
    ),
    Case(
        "entity host: the own node only",
        cilium_policy(f"{{{OF_A}, egress: [{{toEntities: [host]}}]}}"),
        (deny("x/a", "*"), allow("x/a", "host/node-1")),
    ),
    Case(
        "entity remote-node: the others, both ways",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [remote-node]}}], "
            "egress: [{toEntities: [remote-node]}]}"
        ),
        (
            deny("*", "x/a"),
            deny("x/a", "*"),
            allow("host/node-2", "x/a"),
            allow("x/a", "host/node-2"),
        ),
    ),
    Case(
        "entity all",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [all]}}], egress: [{{toEntities: [all]}}]}}"
        ),
        (),
    ),
    Case(
        "entity none",
        cilium_policy(f"{{{OF_A}, ingress: [{{fromEntities: [none]}}]}}"),
        (deny("*", "x/a"),),
    ),
    Case(
        "CIDR: a bare address and a prefix",
        cilium_policy(f"{{{OF_A}, egress: [{{toCIDR: [1.1.1.1/32, '2606:4700:4700::/48']}}]}}"),
        (
            deny("x/a", "*"),
            allow("x/a", "world/cloudflare"),
            allow("x/a", "world/sibling", family=6),
        ),
    ),
    Case(
        "CIDR in",
        cilium_policy(f"{{{OF_A}, ingress: [{{fromCIDR: [8.8.8.8/32]}}]}}"),
        (deny("*", "x/a"), allow("world/google", "x/a", family=4)),
    ),
    Case(
        "CIDR set with an exception and a port",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toCIDRSet: [{{cidr: 1.0.0.0/8, except: [1.0.0.0/16]}}], "
            "toPorts: [{ports: [{port: '81', protocol: TCP}]}]}]}"
        ),
        (deny("x/a", "*"), allow("x/a", "world/cloudflare", port=81, protocol=TCP, family=4)),
    ),
    Case(
        "an exception is no denial: another rule may allow it",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toCIDRSet: [{{cidr: 0.0.0.0/0, except: [1.0.0.0/8]}}]}}, "
            "{toCIDR: [1.0.0.1/32]}]}"
        ),
        (
            deny("x/a", "*"),
            allow("x/a", "world/google", family=4),
            allow("x/a", "world/sibling", family=4),
            allow("x/a", API),
        ),
    ),
    Case(
        "a group of CIDRs",
        "---\napiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: resolvers}\n"
        "spec: {externalCIDRs: [1.1.1.1/32, '2001:4860::/32']}\n"
        + cilium_policy(f"{{{OF_A}, egress: [{{toCIDRSet: [{{cidrGroupRef: resolvers}}]}}]}}"),
        (
            deny("x/a", "*"),
            allow("x/a", "world/cloudflare", family=4),
            allow("x/a", "world/google", family=6),
        ),
    ),
    Case(
        "every address is no pod",
        cilium_policy(f"{{{OF_A}, egress: [{{toCIDR: [0.0.0.0/0, '::/0']}}]}}"),
        (deny("x/a", "*"), allow("x/a", "world/*"), allow("x/a", API)),
    ),
)

DENIES = (
    Case(
        "deny wins over an allow, wide or narrow",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [all]}}, {{fromEndpoints: [{{{POD % 'b'}}}]}}], "
            f"ingressDeny: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}"
        ),
        (deny("x/b", "x/a"),),
    ),
    Case(
        "a wide deny wins over a narrow allow",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEndpoints: [{{{POD % 'b'}}}], "
            "toPorts: [{ports: [{port: '80', protocol: TCP}]}]}, {fromEntities: [world]}], "
            "ingressDeny: [{fromEntities: [cluster]}]}"
        ),
        (deny("*", "x/a"), allow("world/*", "x/a")),
    ),
    Case(
        "deny of a port, from anyone",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [all]}}], "
            "ingressDeny: [{toPorts: [{ports: [{port: '81', protocol: TCP}]}]}]}"
        ),
        (deny("*", "x/a", port=81, protocol=TCP),),
    ),
    Case(
        "deny of a range within what is allowed",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toPorts: [{{ports: [{{port: '1', endPort: 1000}}]}}]}}], "
            "egressDeny: [{toEndpoints: [{}], "
            "toPorts: [{ports: [{port: '81', endPort: 90, protocol: UDP}]}]}]}"
        ),
        (
            deny("x/a", "*", protocol=PING),
            deny("x/a", API),
            deny("x/a", "x/*", port=81, protocol=UDP),
        ),
    ),
    Case(
        "deny of addresses in the world",
        cilium_policy(
            f"{{{OF_A}, egress: [{{toEntities: [all]}}], "
            "egressDeny: [{toCIDRSet: [{cidr: 1.0.0.0/8, except: [1.0.0.0/24]}]}]}"
        ),
        (deny("x/a", "world/cloudflare", family=4),),
    ),
    Case(
        "deny of ping",
        cilium_policy(
            f"{{{OF_A}, ingress: [{{fromEntities: [all]}}], "
            "ingressDeny: [{icmps: [{fields: [{type: EchoRequest, family: IPv4}]}]}]}"
        ),
        (deny("*", "x/a", protocol=PING, family=4),),
    ),
    Case(
        "deny alone closes the direction, unless it says otherwise",
        cilium_policy(f"{{{OF_A}, ingressDeny: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}")
        + cilium_policy(
            f"{{endpointSelector: {{{POD % 'c'}}}, enableDefaultDeny: {{ingress: false}}, "
            f"ingressDeny: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}",
            name="open",
        ),
        (deny("*", "x/a"), deny("x/b", "x/c")),
    ),
    Case(
        "an allow that closes nothing",
        cilium_policy(
            f"{{{OF_A}, enableDefaultDeny: {{ingress: false, egress: false}}, "
            f"ingress: [{{fromEndpoints: [{{{POD % 'b'}}}]}}], egress: [{{toEntities: [world]}}]}}"
        ),
        (),
    ),
    Case(
        "what closes nothing is closed by what does",
        cilium_policy(
            f"{{{OF_A}, enableDefaultDeny: {{ingress: false}}, "
            f"ingress: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}"
        )
        + cilium_policy(f"{{{OF_A}, ingress: [{{}}]}}", name="closed"),
        (deny("*", "x/a"), allow("x/b", "x/a")),
    ),
    Case(
        "deny of one kind wins over an allow of another",
        cilium_policy(
            f"{{{OF_A}, enableDefaultDeny: {{ingress: false}}, "
            f"ingressDeny: [{{fromEndpoints: [{{{OF_TEAM_Y}}}]}}]}}"
        )
        + network_policy("{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"),
        (deny("*", "x/*"), allow("?/*", "x/*"), deny("y/*", "x/a")),
    ),
)

CLUSTERWIDE = (
    Case(
        "cluster-wide: subjects in every namespace, peers in every namespace",
        clusterwide_policy(f"{{{OF_A}, ingress: [{{fromEndpoints: [{{{POD % 'b'}}}]}}]}}"),
        (deny("*", "?/a"), allow("?/b", "?/a")),
    ),
    Case(
        "cluster-wide: an empty peer is any pod, not a node, not the world",
        clusterwide_policy(
            "{endpointSelector: {matchLabels: {'k8s:io.kubernetes.pod.namespace': x}}, "
            "ingress: [{fromEndpoints: [{}]}]}"
        ),
        (deny("*", "x/*"), allow("?/*", "x/*")),
    ),
    Case(
        "cluster-wide: specs, by label of a namespace",
        "---\napiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\n"
        "metadata: {name: case}\nspecs:\n"
        "- {endpointSelector: {matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': x}}, "
        "ingress: [{fromEntities: [cluster]}]}\n"
        "- {endpointSelector: {matchLabels: {pod: b}}, enableDefaultDeny: {egress: false}, "
        "egressDeny: [{toEntities: [world]}]}\n",
        (deny("world/*", "x/*"), deny("?/b", "world/*"), deny("?/b", API)),
    ),
    Case(
        "cluster-wide deny over a namespace's allow",
        clusterwide_policy(
            "{endpointSelector: {}, enableDefaultDeny: {ingress: false}, "
            "ingressDeny: [{fromEntities: [world], toPorts: [{ports: [{port: '80'}]}]}]}"
        )
        + cilium_policy(f"{{{OF_A}, ingress: [{{fromEntities: [world]}}]}}"),
        (deny("*", "x/a"), allow("world/*", "x/a"), deny("world/*", "?/*", port=80)),
    ),
)


@pytest.mark.parametrize(
    "case", [*ENDPOINTS, *PORTS, *OUTSIDE, *DENIES, *CLUSTERWIDE], ids=lambda case: case.name
)
def test_truth_table(cluster: Cluster, case: Case) -> None:
    with cluster.policies(case.text):
        cluster.check(*case.expected)
