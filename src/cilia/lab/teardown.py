"""`cilia lab down`: everything a lab left on this machine goes, also after a crash."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from cilia.lab import cgroup, topology
from cilia.lab.commands import LabError, running_supervisor
from cilia.lab.site import LabSite

STOP_S = 20.0
POLL_S = 0.02


def down(site: LabSite) -> list[str]:
    """Removes a lab; what was removed, one sentence each (empty: there was nothing).

    Raises:
        LabError: Something would not go.
    """
    removed = []
    if _stop_supervisor(site):
        removed.append("supervisor stopped")
    if count := cgroup.kill(site.cgroup):
        removed.append(f"{count} processes ended")
    if count := _unmount(site):
        removed.append(f"{count} mounts removed")
    if names := topology.present_namespaces(site):
        topology.remove(names)
        removed.append(f"{len(names)} network namespaces removed")
    if count := cgroup.remove(site.cgroup):
        removed.append(f"{count} cgroups removed")
    for what, folder in (("pins", site.bpffs), ("sockets", site.run), ("state", site.state)):
        if folder.exists():
            _remove_folder(folder)
            removed.append(f"{what} in {folder} removed")
    _remove_if_empty(site.cgroup.parent, site.bpffs.parent, site.run.parent, site.state.parent)
    return removed


def _stop_supervisor(site: LabSite) -> bool:
    supervisor = running_supervisor(site)
    if supervisor is None:
        return False
    os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while running_supervisor(site) == supervisor and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return True


def _unmount(site: LabSite) -> int:
    """Detaches mounts below the lab's folders, the latest first."""
    points = mount_points(Path("/proc/self/mountinfo").read_text(), (site.run, site.state))
    for point in points:
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
    return len(points)


def mount_points(mountinfo: str, folders: tuple[Path, ...]) -> list[str]:
    """Mount points that lie below some folders, in the order in which to detach them."""
    found = []
    for line in mountinfo.splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if any(Path(point).is_relative_to(folder) for folder in folders):
            found.append(point)
    return found[::-1]


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise LabError(f"{folder} cannot be removed: {error}; remove it by hand") from error


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
