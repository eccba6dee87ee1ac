"""Outcomes as text for people and as JUnit's XML for build servers."""

from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

import msgspec

from cilia.model.rules import Direction, PolicyKey
from cilia.policy.connection import Judgement, Step, rule_text
from cilia.policy.decision import Verdict
from cilia.policy.provenance import ProvenanceRule
from cilia.policy.trial.cases import Outcome
from cilia.policy.trial.crosscheck import Crosscheck, Difference
from cilia.policy.trial.documents import Document
from cilia.policy.trial.mutation import Mutant

_WORDS = {
    Verdict.ALLOW: "allowed",
    Verdict.DENY: "denied",
    Verdict.DEFAULT_DENY: "denied, as nothing allows it and the direction is closed",
    Verdict.NOT_ENFORCED: "allowed, as no policy closes the direction",
    Verdict.NODE: "allowed, as a node always reaches its own pods",
    Verdict.UNKNOWN: "denied, as the peer is not known",
}


class Report(msgspec.Struct, frozen=True):
    """Everything that a trial finds out."""

    outcomes: Sequence[Outcome]
    rules: int
    """How many rules there are."""
    untried: Sequence[ProvenanceRule]
    """Those that no case exercises."""
    documents: Mapping[PolicyKey, Document]
    """Where each policy is written."""
    survivors: Sequence[Mutant] = ()
    mutants: int = 0
    """How many there are; 0: they were not asked for."""
    crosscheck: Crosscheck | None = None
    """What the real programs said; None: they were not asked."""

    @property
    def failed(self) -> list[Outcome]:
        """The cases that did not pass."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def differences(self) -> Sequence[Difference]:
        """Where the real programs do not decide as the engine does."""
        return self.crosscheck.differences if self.crosscheck else ()


def report_lines(report: Report, *, quiet: bool = False) -> Iterator[str]:
    """The report as lines of text.

    Args:
        quiet: Leave out what is well.
    """
    for outcome in report.outcomes:
        word = "allow" if outcome.case.allow else "deny"
        if not outcome.passed:
            yield f"FAIL  {outcome.case.place}  {outcome.case.title}"
            yield from (f"      {line}" for line in difference(report, outcome))
        elif not quiet:
            yield f"ok    {outcome.case.place}  {outcome.case.title}: {word}"
    for found in report.differences:
        case = found.outcome.case
        yield f"DIFF  {case.place}  {case.title}"
        yield from (f"      {line}" for line in _disagreement(report, found))
    if report.untried:
        yield "Rules that no case exercises:"
        yield from (f"      {_rule(report, rule)}" for rule in report.untried)
    if report.survivors:
        yield "Changes of rules that no case notices:"
        for mutant in report.survivors:
            yield f"      {_rule(report, mutant.rule)}: {mutant.change}"
    yield summary(report)


def summary(report: Report) -> str:
    """The last line: how many of everything."""
    failed, cases = len(report.failed), len(report.outcomes)
    tried = report.rules - len(report.untried)
    text = f"{cases} cases: {cases - failed} passed, {failed} failed; "
    text += f"{tried} of {report.rules} rules exercised"
    if report.mutants:
        noticed = report.mutants - len(report.survivors)
        text += f"; {noticed} of {report.mutants} changes noticed"
    if report.crosscheck:
        text += f"; {report.crosscheck.sent} decisions asked of the programs, "
        text += f"{len(report.differences)} differ"
        if report.crosscheck.passed_over:
            text += f" ({report.crosscheck.passed_over} cases open no connection: not sent)"
    return text


def difference(report: Report, outcome: Outcome) -> list[str]:
    """What was expected of a case that failed, and what came instead and why."""
    case, judgement = outcome.case, outcome.judgement
    wanted = "allow" if case.allow else "deny"
    got = "allow" if judgement.allowed else "deny"
    because = f", because of {case.because}" if case.because else ""
    if outcome.verdict_holds:
        because += " (the verdict is right, the reason is another)"
    lines = [f"expected  {wanted}{because}", f"got       {got}"]
    steps = _telling(judgement)
    return lines + [line for step in steps for line in _step(report, step)]


def _disagreement(report: Report, found: Difference) -> list[str]:
    """What engine and programs say of one end of a case."""
    lines = []
    programs = f"the programs ({found.way})"
    for who, decision in (("the engine", found.engine), (programs, found.programs)):
        first, *others = _step(report, msgspec.structs.replace(found.step, decision=decision))
        lines += [f"{who}: {first.strip()}", *(line[8:] for line in others)]
    return lines


def _telling(judgement: Judgement) -> tuple[Step, ...]:
    """The steps that explain the result: the refusing one, or all."""
    return judgement.deciding if not judgement.allowed else judgement.steps


def _step(report: Report, step: Step) -> list[str]:
    side = "egress" if step.direction is Direction.EGRESS else "ingress"
    lines = [f"          {side} of {step.subject.title}: {_WORDS[step.decision.verdict]}"]
    word = "closed by" if step.decision.verdict is Verdict.DEFAULT_DENY else "by"
    lines += [f"            {word} {_rule(report, rule)}" for rule in step.decision.rules]
    return lines


def _rule(report: Report, rule: ProvenanceRule) -> str:
    document = report.documents.get(rule.policy)
    side = f" (default deny {rule.direction.name.lower()})" if rule.index < 0 else ""
    return f"{rule_text(rule)}{side}" + (f", {document.place_of(rule.path)}" if document else "")


def junit(report: Report) -> bytes:
    """The cases as a JUnit test suite.

    Source: https://github.com/testmoapp/junitxml
    """
    checked = report.outcomes if report.crosscheck else ()
    suite = ElementTree.Element(
        "testsuite",
        name="cilia policy test",
        tests=str(len(report.outcomes) + len(checked)),
        failures=str(len(report.failed) + len({id(d.outcome) for d in report.differences})),
        errors="0",
    )
    for outcome in report.outcomes:
        lines = [] if outcome.passed else difference(report, outcome)
        _junit_case(suite, outcome, "", lines)
    for outcome in checked:
        found = [one for one in report.differences if one.outcome is outcome]
        lines = [line for one in found for line in _disagreement(report, one)]
        _junit_case(suite, outcome, " (programs)", lines)
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    return bytes(ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True))


def _junit_case(
    suite: ElementTree.Element, outcome: Outcome, suffix: str, lines: Sequence[str]
) -> None:
    """Adds one test case; it failed if there are lines about it."""
    file, _, line = outcome.case.place.rpartition(":")
    title = outcome.case.title + suffix
    case = ElementTree.SubElement(
        suite, "testcase", name=title, classname=file, file=file, line=line
    )
    if lines:
        message = "; ".join(" ".join(each.split()) for each in lines[:2])
        failure = ElementTree.SubElement(case, "failure", message=message)
        failure.text = "\n".join(lines)
