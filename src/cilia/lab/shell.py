"""`cilia lab shell`: a shell in which kubectl, cilium and hubble mean this lab."""

import os
import shlex
import sys
from pathlib import Path

from cilia.lab.commands import LabError
from cilia.lab.kubectl import find_kubectl
from cilia.lab.site import LabSite


def names(interpreter: str, kubectl: Path | None) -> dict[str, str]:
    """Scripts that a lab's shell finds on its PATH, by name."""
    run = f"{shlex.quote(interpreter)} -P -m cilia"
    commands = {"cilia": run, "cilium": run, "hubble": f"{run} hubble"}
    if kubectl is not None:
        commands["kubectl"] = shlex.quote(str(kubectl))
    return {name: f'#!/bin/sh\nexec {command} "$@"\n' for name, command in commands.items()}


def environment(site: LabSite, folder: Path, before: dict[str, str]) -> dict[str, str]:
    """The variables of a lab's shell."""
    return before | {
        "KUBECONFIG": str(site.kubeconfig),
        "CILIA_LAB": site.name,
        "PATH": f"{folder}:{before.get('PATH', '/usr/bin:/bin')}",
    }


def enter_shell(site: LabSite, command: tuple[str, ...]) -> None:
    """Becomes a shell in the lab, or a command in one.

    Raises:
        LabError: The lab has not been brought up.
    """
    if not site.kubeconfig.exists():
        raise LabError(f"lab {site.name} is not up; type: cilia lab up --name {site.name}")
    folder = site.run / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    kubectl = find_kubectl(os.environ.get("PATH", ""), site.state)
    for name, text in names(sys.executable, kubectl).items():
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
    variables = environment(site, folder, dict(os.environ))
    words = list(command) or [os.environ.get("SHELL", "/bin/sh")]
    if not command:
        variables["PS1"] = f"({site.name}) \\w \\$ "
        found = ("kubectl, " if kubectl else "") + "cilia, cilium and hubble"
        print(f"lab {site.name}: {found} speak to it; exit leaves")
    os.execvpe(words[0], words, variables)
