"""Is every part of this node well? The REST API's StatusResponse."""

import json
import socket
from pathlib import Path
from typing import Any

from cilia import __version__
from cilia.agent.parts import Parts
from cilia.datapath.maps.capacity import MapUsage
from cilia.kernel.maps import possible_cpus
from cilia.model.identities import CLUSTER_FIRST, CLUSTER_LAST
from cilia.node.network import NodeNetwork

Json = dict[str, Any]

RING_PAGES = 256
PAGE_BYTES = 4096
SHOWN_FILES = 3
"""So many refused files of policies are told of."""


def status_response(parts: Parts, usages: list[MapUsage], lost_events: int) -> Json:
    """Returns the status of the whole node.

    Args:
        usages: How full each map is.
        lost_events: Events that found their ring full since the maps were made.
    """
    settings = parts.settings.values
    return {
        "cilium": cilium_status(parts),
        "kubernetes": parts.cluster.status(),
        "cni-file": cni_status(parts),
        "policy-files": policy_files_status(parts),
        "container-runtime": {"state": "Disabled"},
        "hubble": hubble_status(parts.site.hubble_socket, parts.site.export_status),
        "datapath-mode": "veth",
        "attach-mode": "tcx" if parts.attacher.has_tcx else "tc",
        "kube-proxy-replacement": {
            "mode": "True",
            "devices": [parts.network.device],
            "features": {"socketLB": {"enabled": True}},
        },
        "ipam": ipam_status(parts),
        "nodeMonitor": {
            "cpus": possible_cpus(),
            "npages": RING_PAGES,
            "pagesize": PAGE_BYTES,
            "lost": lost_events,
        },
        "cluster": {"self": f"{settings.cluster_name}/{parts.site.name}"},
        "controllers": controllers(parts),
        "identity-range": {"min-identity": CLUSTER_FIRST, "max-identity": CLUSTER_LAST},
        "masquerading": masquerading(parts, parts.network),
        "routing": {"inter-host-routing-mode": "Native", "intra-host-routing-mode": "BPF"},
        "bpf-maps": {
            **map_status(usages),
            "maps": [
                {"name": each.name, "size": each.capacity, "entries": each.rows or 0}
                for each in sorted(usages, key=lambda each: each.name)
            ],
        },
        "encryption": {"mode": "Disabled"},
    }


def map_status(usages: list[MapUsage]) -> Json:
    """Returns whether every map has room; what finds none stays closed."""
    full = [each for each in usages if each.is_full]
    if not full:
        return {"state": "Ok", "msg": ""}
    names = ", ".join(f"{each.name} ({each.rows} of {each.capacity} rows)" for each in full)
    remedy = "remove what is not needed, or raise map-sizes and restart the agent"
    return {"state": "Warning", "msg": f"full: {names}; {remedy}"}


def cilium_status(parts: Parts) -> Json:
    """Returns whether the agent does its work."""
    if parts.policy.sync.error:
        return {"state": "Failure", "msg": f"policy is not enforced: {parts.policy.sync.error}"}
    if not parts.policy_ready:
        waiting = [
            table.name
            for table in (
                parts.tables.policies,
                parts.tables.identities,
                parts.tables.endpoints,
                parts.tables.remote_endpoints,
                parts.tables.cidr_groups,
                parts.tables.services,
                parts.tables.endpoint_slices,
            )
            if not table.synced.is_set()
        ]
        what = ", ".join(waiting) or "the first computation"
        return {"state": "Warning", "msg": f"policy waits for {what}"}
    return {"state": "Ok", "msg": __version__}


def hubble_status(path: Path, exports: Path) -> Json:
    """Returns whether an observer answers at Hubble's socket, and can write what it exports."""
    if not path.exists():
        return {"state": "Disabled", "msg": f"no observer at {path}"}
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:
            return {"state": "Warning", "msg": f"{path}: the observer is too busy to answer"}
        except OSError as error:
            remedy = "start `cilia observer` again"
            return {"state": "Failure", "msg": f"{path}: {error.strerror}; {remedy}"}
    failing = failing_exports(exports)
    if failing:
        return {"state": "Warning", "msg": f"serving at {path}; export fails: {failing}"}
    return {"state": "Ok", "msg": f"serving at {path}"}


def failing_exports(status: Path) -> str:
    """Returns what the observer last said of exports that do not work; empty when all do."""
    try:
        told = json.loads(status.read_bytes())
        logs = [f"{one['name']}: {one['error']}" for one in told["logs"] if one["error"]]
        return "; ".join(error for error in (told["error"], *logs) if error)
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # none yet, or an observer of another version wrote it


def cni_status(parts: Parts) -> Json:
    """Returns whether container runtimes can find the plugin."""
    folder = parts.settings.values.cni_conf_dir
    if not folder:
        return {"state": "Disabled", "msg": "cni-conf-dir is not set"}
    return {"state": "Ok", "msg": f"written to {folder}"}


def policy_files_status(parts: Parts) -> Json:
    """Returns whether every file of the folder of policies is in force as it is now."""
    if parts.policy_files is None:
        return {"state": "Disabled", "msg": "static-cnp-path is not set"}
    refused = list(parts.policy_files.errors.values())
    if not refused:
        return {"state": "Ok", "msg": f"from {parts.settings.values.static_cnp_path}"}
    more = len(refused) - SHOWN_FILES
    rest = f"; and {more} more, see `cilia policy list`" if more > 0 else ""
    return {"state": "Warning", "msg": f"refused: {'; '.join(refused[:SHOWN_FILES])}{rest}"}


def ipam_status(parts: Parts) -> Json:
    """Returns who holds which address."""
    pools = parts.addresses.pools()
    allocations = {
        str(address): owner for pool in pools for address, owner in pool.owners().items()
    }
    by_family: dict[int, list[str]] = {4: [], 6: []}
    for pool in pools:
        by_family[pool.network.version] = [str(address) for address in pool.owners()]
    words = [
        f"IPv{pool.network.version}: {pool.used}/{pool.capacity} allocated from {pool.network}"
        for pool in pools
    ]
    return {
        "allocations": allocations,
        "ipv4": by_family[4],
        "ipv6": by_family[6],
        "status": ", ".join(words),
    }


def controllers(parts: Parts) -> list[Json]:
    """Returns everything that is kept in step, and what of it is not."""
    found = []
    for name, each in parts.reconcilers:
        failing = list(each.failing.values())
        found.append(
            _controller(
                name,
                each.updated,
                max((status.attempts for status in failing), default=0),
                f"{len(failing)} rows: {failing[0].message}" if failing else "",
            )
        )
    waiting = parts.identities.waiting
    labels, why = next(iter(waiting.items()), ((), ""))
    found.append(
        _controller(
            "identity allocation",
            len(parts.identities.stored),
            len(waiting),
            f"{' '.join(labels)}: {why}" if waiting else "",
        )
    )
    return found


def _controller(name: str, successes: int, failures: int, message: str) -> Json:
    return {
        "name": name,
        "status": {
            "success-count": successes,
            "failure-count": failures,
            "consecutive-failure-count": failures,
            "last-failure-msg": message,
        },
    }


def masquerading(parts: Parts, network: NodeNetwork) -> Json:
    """Returns under which address pods leave the cluster."""
    settings = parts.settings.values
    v4 = settings.enable_ipv4_masquerade and network.v4 is not None
    v6 = settings.enable_ipv6_masquerade and network.v6 is not None
    return {
        "enabled": v4 or v6,
        "enabledProtocols": {"ipv4": v4, "ipv6": v6},
        "mode": "BPF",
        "snat-exclusion-cidr": settings.ipv4_native_routing_cidr
        or (str(parts.pods.v4) if parts.pods.v4 else ""),
        "snat-exclusion-cidr-v6": settings.ipv6_native_routing_cidr
        or (str(parts.pods.v6) if parts.pods.v6 else ""),
    }
