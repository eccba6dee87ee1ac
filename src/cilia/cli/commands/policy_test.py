"""`cilia policy test`: policies tried against cases, with no cluster, kernel or root."""

from pathlib import Path

import click

from cilia.cli.errors import ClientError
from cilia.policy.contents import Enforcement
from cilia.policy.trial.documents import BrokenInput
from cilia.policy.trial.report import junit, report_lines
from cilia.policy.trial.trial import TrialSettings, run_trial

BROKEN = 2


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
@click.option("-q", "--quiet", is_flag=True, help="only what is not well, and the summary")
@click.option(
    "--enforcement",
    type=click.Choice([mode.value for mode in Enforcement]),
    default=Enforcement.DEFAULT.value,
    show_default=True,
    help="the agents' enable-policy",
)
@click.option("--cluster", default="default", show_default=True, help="the cluster's name")
def test(
    folder: Path,
    more: tuple[Path, ...],
    junit_file: Path | None,
    mutate: bool,
    quiet: bool,
    enforcement: str,
    cluster: str,
) -> int:
    """Try the policies in DIR against the expectations of DIR/cases.yaml.

    Exit codes: 0 all cases passed, 1 one failed, 2 a file is broken.
    """
    settings = TrialSettings(Enforcement(enforcement), cluster, mutate)
    try:
        report = run_trial(folder, more, settings)
    except BrokenInput as error:
        raise ClientError(str(error), exit_code=BROKEN) from None
    click.echo("\n".join(report_lines(report, quiet=quiet)))
    if junit_file is not None:
        try:
            junit_file.write_bytes(junit(report))
        except OSError as error:
            raise ClientError(f"cannot write {junit_file}: {error.strerror}") from None
    return 1 if report.failed else 0
