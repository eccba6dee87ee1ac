"""A whole trial: files in, report out."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from cilia.policy.contents import Enforcement
from cilia.policy.sources import Context
from cilia.policy.trial.cases import Outcome, read_cases, run_cases
from cilia.policy.trial.cluster import Cluster
from cilia.policy.trial.coverage import rules_of, untried
from cilia.policy.trial.crosscheck import Crosscheck
from cilia.policy.trial.documents import BrokenInput, manifest_files, read_documents
from cilia.policy.trial.manifests import read_manifests
from cilia.policy.trial.mutation import survivors
from cilia.policy.trial.report import Report

SecondOpinion = Callable[[Cluster, Sequence[Outcome]], Crosscheck]


class TrialSettings(msgspec.Struct, frozen=True):
    """How a trial is run."""

    enforcement: Enforcement = Enforcement.DEFAULT
    cluster: str = "default"
    """The cluster's name."""
    cidr_matches: frozenset[str] = frozenset()
    """What CIDR rules match by address besides the world: nodes, pods."""
    mutate: bool = False
    """Whether to try mutants."""
    second: SecondOpinion | None = None
    """Decides the same cases again by other means, such as `kernel_trial.crosscheck`."""


def run_trial(
    folder: Path, more: Iterable[Path] = (), settings: TrialSettings | None = None
) -> Report:
    """Runs the cases of a folder against its manifests.

    Args:
        folder: Holds `cases.yaml` and manifests.
        more: Files and folders of manifests besides those.

    Raises:
        BrokenInput: A file that cannot be used: which, where, and the remedy.
    """
    settings = settings or TrialSettings()
    context = Context(cluster=settings.cluster)
    files = sorted({f for path in (folder, *more) for f in manifest_files(path)})
    documents = [document for file in files for document in read_documents(file)]
    cluster = Cluster(
        read_manifests(documents, context), context, settings.enforcement, settings.cidr_matches
    )
    cases = read_cases(read_documents(_cases_file(folder)), cluster)
    cluster.decider.commit()
    outcomes = run_cases(cluster, cases)
    policies = list(cluster.manifests.policies.values())
    report = Report(
        outcomes,
        sum(len(set(rules_of(policy))) for policy in policies),
        untried(policies, outcomes),
        cluster.manifests.documents,
        crosscheck=settings.second(cluster, outcomes) if settings.second else None,
    )
    if not settings.mutate:
        return report
    left, count = survivors(cluster, outcomes)
    return msgspec.structs.replace(report, survivors=left, mutants=count)


def _cases_file(folder: Path) -> Path:
    for name in ("cases.yaml", "cases.yml"):
        if (folder / name).is_file():
            return folder / name
    raise BrokenInput(f"{folder}: has no cases.yaml; write the list of cases there")
