"""What a second opinion found: where the real programs decide otherwise than the engine."""

import msgspec

from cilia.model.errors import CiliaError
from cilia.policy.connection import Step
from cilia.policy.decision import Decision
from cilia.policy.trial.cases import Outcome


class CannotAsk(CiliaError):
    """There is no second opinion to be had: why, and the remedy."""


class Difference(msgspec.Struct, frozen=True):
    """One end of a case on which engine and programs do not agree."""

    outcome: Outcome
    step: Step
    engine: Decision
    programs: Decision
    way: str = ""
    """Which program decides so, and in which family."""


class Crosscheck(msgspec.Struct, frozen=True):
    """All that was sent through the programs."""

    sent: int
    """Decisions: of each end of a case that is a pod, by each way there and in each family."""
    passed_over: int
    """Cases of ICMP errors and neighbour discovery, which open no connection, and those whose
    ends have no family in common."""
    differences: tuple[Difference, ...] = ()
