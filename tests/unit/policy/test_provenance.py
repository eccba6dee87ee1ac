"""Numbers for sets of rules: each once, and those long out of use are forgotten."""

import pytest

from cilia.model.rules import Direction, PolicyKey
from cilia.policy import provenance as module
from cilia.policy.contents import Enforcement
from cilia.policy.provenance import Provenance, ProvenanceRule

from .test_decisions import Model
from .universe import pod


def rule(index):
    key = PolicyKey("CiliumNetworkPolicy", "red", f"p{index}")
    return ProvenanceRule(key, "spec.ingress[0]", 0, Direction.INGRESS, "allow")


def test_a_set_has_one_number_whatever_its_order():
    table = Provenance()
    first = table.number([rule(1), rule(2)])
    assert table.number([rule(2), rule(1), rule(2)]) == first
    assert table.rules(first) == (rule(1), rule(2))
    assert table.number([]) == 0


def test_what_rows_use_is_kept_and_what_went_last_goes_last(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 10)
    table = Provenance()
    old, used, more = (table.number([rule(n)]) for n in range(3))
    table.forget({used, more})
    later = [table.number([rule(n)]) for n in range(10, 18)]
    table.forget({used})
    assert all(table.rules(number) for number in (used, more, *later)), "more went just now"
    assert not table.is_crowded
    last = [table.number([rule(n)]) for n in range(20, 31)]
    assert table.is_crowded
    table.forget({used})
    assert [bool(table.rules(n)) for n in (old, used, more)] == [False, True, False]
    assert [n for n in (*later, *last) if table.rules(n)] == [*later, *last][-10:]
    assert table.number([rule(0)]) > max(last), "a number is never given twice"


@pytest.mark.parametrize("mode", [Enforcement.DEFAULT, Enforcement.ALWAYS])
def test_an_engine_of_many_changes_remembers_what_its_rows_say(monkeypatch, mode):
    monkeypatch.setattr(module, "REMEMBERED", 20)
    model = Model(mode)
    model.engine.provenance._limit = 20
    model.set_pod(1000, pod("red", {"app": "web"}))
    for round_ in range(100):
        entry = {"fromCIDR": ["10.1.0.0/16"], "toPorts": [{"ports": [{"port": str(round_ + 1)}]}]}
        steady = {"fromCIDR": ["10.0.0.0/8"], "toPorts": [{"ports": [{"port": "80"}]}]}
        for name, entries in (("steady", [steady]), (f"p{round_ % 7}", [entry])):
            spec = {"endpointSelector": {}, "ingress": entries}
            metadata = {"name": name, "namespace": "red"}
            model.set_policy({"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec})
        model.commit()
        assert len(model.engine.provenance.table()) < 100
        rows = model.engine.numbers.rows(0)["provenance"].tolist()
        assert all(model.engine.rules(number) for number in rows if number)
