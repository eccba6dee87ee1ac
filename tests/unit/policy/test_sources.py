"""Policy objects: what is refused, how it is said, and that nothing else is ever raised."""

import contextlib

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cilia.model.errors import NotSupported, PolicyError
from cilia.model.labels import NAMESPACE, label_set
from cilia.model.selectors import LabelSelector
from cilia.policy.sources import Context, parse_policy

from .universe import policies

HEAD = "kind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec:\n  endpointSelector: {}\n  "

REFUSED = [
    ("ingress: [{fromEndpoint: [{}]}]", "spec.ingress[0].fromEndpoint: no such field",
     "did you mean fromEndpoints?"),
    ("ingress: [{fromEndpoints: [{matchLabel: {a: b}}]}]",
     "spec.ingress[0].fromEndpoints[0].matchLabel", "did you mean matchLabels?"),
    ("ingress: [{toPorts: [{ports: [{port: '99999'}]}]}]",
     "spec.ingress[0].toPorts[0].ports[0].port 99999", "0 to 65535"),
    ("ingress: [{toPorts: [{ports: [{port: 80}]}]}]",
     "spec.ingress[0].toPorts[0].ports[0].port 80: is not text", 'write "80"'),
    ("ingress: [{toPorts: [{ports: [{port: '80', protocol: TPC}]}]}]",
     "ports[0].protocol TPC", "did you mean TCP?"),
    ("ingress: [{toPorts: [{ports: [{port: '8', protocol: ICMP}]}]}]", "protocol ICMP", "icmps"),
    ("ingress: [{toPorts: [{ports: [{port: not_a_name}]}]}]", "port not_a_name", "letters"),
    ("egress: [{toCIDR: [10.0.0.0/8, 300.0.0.1]}]", "spec.egress[0].toCIDR[1]", "10.0.0.0/8"),
    ("egress: [{toCIDR: ['::ffff:10.0.0.0/104']}]", "spec.egress[0].toCIDR[0]", "a.b.c.d/n"),
    ("egress: [{toCIDRSet: [{cidr: 10.0.0.1}]}]", "toCIDRSet[0].cidr 10.0.0.1", "10.0.0.1/32"),
    ("egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/8]}]}]",
     "toCIDRSet[0].except[0] 11.0.0.0/8", "within it"),
    ("egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: a}]}]", "toCIDRSet[0]",
     "exactly one"),
    ("egress: [{toEntities: [wrold]}]", "spec.egress[0].toEntities[0] wrold",
     "did you mean world?"),
    ("egress: [{toEndpoints: [{}], toCIDR: [10.0.0.0/8]}]", "spec.egress[0]", "combining"),
    ("egress: [{toPorts: [{ports: [{port: '1'}]}], icmps: [{fields: [{type: 8}]}]}]",
     "spec.egress[0]", "an entry for each"),
    ("egress: [{icmps: [{fields: [{type: Ecko}]}]}]", "fields[0].type Ecko", "did you mean Echo?"),
    ("egress: [{toNodes: [{}]}]", "spec.egress[0].toNodes", "enable-node-selector-labels"),
    ("ingress: [{fromRequires: [{}]}]", "fromRequires", "deny rules"),
    ("ingress: []", "spec: has no rules", "closes all"),
    ("ingress: [{}]\n  nodeSelector: {}", "spec", "exactly one"),
    ("ingress: [{}]\n  log: {value: 'a text that is far too long for this'}", "log.value", "32"),
    ("ingress: [{}]\n  enableDefaultDeny: {ingress: 'no'}", "enableDefaultDeny.ingress",
     "without quotes"),
    ("ingress: [{fromEndpoints: [{matchExpressions: [{key: a, operator: In}]}]}]",
     "matchExpressions[0]", "at least one value"),
    ("ingress: [{fromEndpoints: [{matchLabels: {'cidr:10.0.0.0/8': ''}}]}]", "fromEndpoints[0]",
     "CIDR"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "where", "remedy"), REFUSED)
def test_a_mistake_is_refused_with_its_place_and_remedy(text, where, remedy):
    with pytest.raises(PolicyError) as caught:
        parse_policy(yaml.safe_load(HEAD + text))
    assert "CiliumNetworkPolicy default/p" in str(caught.value)
    assert where in str(caught.value)
    assert remedy in str(caught.value)
    assert not isinstance(caught.value, NotSupported)


LATER = [
    "egress: [{toPorts: [{ports: [{port: '80'}], rules: {http: [{path: /a}]}}]}]",
    "ingress: [{toPorts: [{ports: [{port: '80'}], rules: {kafka: [{topic: a}]}}]}]",
    "ingress: [{toPorts: [{ports: [{port: '80'}], rules: {l7proto: own, l7: [{a: b}]}}]}]",
    "egress: [{toPorts: [{ports: [{port: '443'}], originatingTLS: {secret: {name: a}}}]}]",
    "ingress: [{toPorts: [{ports: [{port: '443'}], terminatingTLS: {secret: {name: a}}}]}]",
    "egress: [{toPorts: [{ports: [{port: '80'}], listener: {name: a, envoyConfig: {name: b}}}]}]",
    "egress: [{toFQDNs: [{matchName: a.io}]}]",
    "egress: [{toGroups: [{aws: {region: x}}]}]",
    "egress: [{toPorts: [{ports: [{port: '443'}], serverNames: ['*.a.io']}]}]",
    "ingress: [{authentication: {mode: required}, fromEndpoints: [{}]}]",
    "egress: [{toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]}]",
    "ingress: [{toPorts: [{ports: [{port: '0', protocol: VRRP}]}]}]",
]


@pytest.mark.parametrize("text", LATER)
def test_what_is_not_enforced_yet_refuses_the_whole_policy(text):
    with pytest.raises(NotSupported, match="not supported yet"):
        parse_policy(yaml.safe_load(HEAD + text))


def test_a_mistake_in_an_l7_section_is_a_mistake_first():
    text = "egress: [{toPorts: [{ports: [{port: '80'}], rules: {htp: [{}]}}]}]"
    with pytest.raises(PolicyError, match="did you mean http") as caught:
        parse_policy(yaml.safe_load(HEAD + text))
    assert not isinstance(caught.value, NotSupported)


def test_host_policies_are_not_supported_yet():
    document = {
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": {"nodeSelector": {}, "ingress": [{}]},
    }
    with pytest.raises(NotSupported, match="host policies"):
        parse_policy(document)


def test_nodes_can_be_selected_where_that_is_on():
    document = yaml.safe_load(HEAD + "egress: [{toNodes: [{matchLabels: {disk: ssd}}]}]")
    policy = parse_policy(document, Context(nodes_by_label=True))
    (selector,) = policy.specs[0].entries[0].peers.selectors
    assert selector.has_key("node:disk")
    assert selector.has_key("reserved:remote-node")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["80", "TCP", "10.0.0.0/8", "world", "In", "::/0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["matchLabels", "matchExpressions", "ports", "port", "cidr", "except",
                         "fromCIDR", "toCIDRSet", "ingress", "egress", "ingressDeny", "toPorts",
                         "icmps", "fields", "type", "rules", "http", "toServices", "k8sService",
                         "serviceName", "endpointSelector", "fromEndpoints", "from", "podSelector",
                         "ipBlock", "key", "operator", "values", "toFQDNs", "log", "labels"])
        | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def damaged(document, path, junk):
    """The document with one value somewhere inside replaced."""
    if not path or not isinstance(document, dict | list) or not document:
        return junk
    which = path[0] % len(document)
    if isinstance(document, list):
        return [damaged(v, path[1:], junk) if i == which else v for i, v in enumerate(document)]
    name = sorted(document, key=str)[which]
    return document | {name: damaged(document[name], path[1:], junk)}


@settings(max_examples=400, deadline=None)
@given(policies(), st.lists(st.integers(0, 9), max_size=7), JSON)
def test_a_damaged_object_is_read_or_refused(document, path, junk):
    with contextlib.suppress(PolicyError):
        parse_policy(damaged(document, path, junk))


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_junk_is_refused(junk):
    with pytest.raises(PolicyError):
        parse_policy(junk)


def subject(selector: str) -> LabelSelector:
    """Whom a policy of namespace `shop` is about."""
    document = yaml.safe_load(
        "{kind: CiliumNetworkPolicy, metadata: {name: p, namespace: shop}, "
        f"spec: {{endpointSelector: {selector}, ingress: [{{}}]}}}}"
    )
    return parse_policy(document).specs[0].subject


def test_a_subject_is_of_the_policys_own_namespace():
    pod = label_set([f"k8s:{NAMESPACE}=shop", "k8s:app=web"])
    assert subject(f"{{matchLabels: {{'k8s:{NAMESPACE}': bank, app: web}}}}").matches(pod)
    # What expressions say of the namespace holds besides, so this is about nobody.
    elsewhere = f"{{key: 'k8s:{NAMESPACE}', operator: NotIn, values: [shop]}}"
    assert not subject(f"{{matchExpressions: [{elsewhere}]}}").matches(pod)
    # An endpoint without an identity has no namespace.
    assert not subject("{matchLabels: {'reserved:init': ''}}").matches(("reserved:init",))
