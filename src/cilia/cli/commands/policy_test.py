"""`cilia policy test`: policies tried against cases, with no cluster, kernel or root."""

import importlib
import os
from pathlib import Path

import click

from cilia.cli.errors import ClientError
from cilia.model.errors import CiliaError, KernelError
from cilia.policy.contents import Enforcement
from cilia.policy.trial.crosscheck import CannotAsk
from cilia.policy.trial.documents import BrokenInput
from cilia.policy.trial.report import junit, report_lines
from cilia.policy.trial.trial import SecondOpinion, TrialSettings, run_trial

BROKEN, NOT_ASKED = 2, 3


@click.command("test")
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "-f",
    "--manifests",
    "more",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="more manifests: a file, or a folder with its subfolders",
)
@click.option(
    "--junit", "junit_file", metavar="FILE", type=click.Path(path_type=Path), help="JUnit's XML"
)
@click.option("--mutate", is_flag=True, help="delete and widen each rule: does a case notice?")
@click.option(
    "--kernel", is_flag=True, help="ask the kernel's programs as well; needs root, touches nothing"
)
@click.option("-q", "--quiet", is_flag=True, help="only what is not well, and the summary")
@click.option(
    "--enforcement",
    type=click.Choice([mode.value for mode in Enforcement]),
    default=Enforcement.DEFAULT.value,
    show_default=True,
    help="the agents' enable-policy",
)
@click.option("--cluster", default="default", show_default=True, help="the cluster's name")
@click.option(
    "--policy-cidr-match-mode",
    "matched",
    multiple=True,
    type=click.Choice(("nodes", "pods")),
    help="the agents' setting: CIDR rules match their addresses as well; may be given twice",
)
def test(
    folder: Path,
    more: tuple[Path, ...],
    junit_file: Path | None,
    mutate: bool,
    kernel: bool,
    quiet: bool,
    enforcement: str,
    cluster: str,
    matched: tuple[str, ...],
) -> int:
    """Try the policies in DIR against the expectations of DIR/cases.yaml.

    Exit codes: 0 all cases passed, 1 one failed, 2 a file is broken.
    With --kernel, 1 as well where the programs decide otherwise, 3 where they cannot be asked.
    """
    second = _programs() if kernel else None
    settings = TrialSettings(Enforcement(enforcement), cluster, frozenset(matched), mutate, second)
    try:
        report = run_trial(folder, more, settings)
    except BrokenInput as error:
        raise ClientError(str(error), exit_code=BROKEN) from None
    except (KernelError, CannotAsk) as error:
        raise ClientError(f"--kernel: {error}", exit_code=NOT_ASKED) from None
    click.echo("\n".join(report_lines(report, quiet=quiet)))
    if junit_file is not None:
        try:
            junit_file.write_bytes(junit(report))
        except OSError as error:
            raise ClientError(f"cannot write {junit_file}: {error.strerror}") from None
    return 1 if report.failed or report.differences else 0


def _programs() -> SecondOpinion:
    """The kernel's programs; the rooms that speak to it are imported only here."""
    if os.geteuid():
        raise ClientError(
            "--kernel: only root may load programs: run it with sudo, or leave --kernel out",
            exit_code=NOT_ASKED,
        )
    try:
        found: SecondOpinion = importlib.import_module("cilia.policy.kernel_trial").crosscheck
    except CiliaError as error:
        raise ClientError(f"--kernel: {error}", exit_code=NOT_ASKED) from None
    return found
