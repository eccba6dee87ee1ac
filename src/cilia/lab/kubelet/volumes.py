"""A pod's volumes as files and folders of the host.

Source: https://kubernetes.io/docs/concepts/storage/volumes/ and projected-volumes/.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cilia.lab.kubelet.environment import BadConfiguration, ObjectLookup, field_value
from cilia.lab.kubelet.pod import Pod

Object = dict[str, Any]
_DEFAULT_MODE = 0o644


def references(pod: Pod) -> Iterator[tuple[str, str]]:
    """The (kind, name) of each ConfigMap and Secret that the pod names anywhere."""
    for volume in pod.spec.volumes:
        for source in (volume, *volume.get("projected", {}).get("sources", [])):
            if "configMap" in source:
                yield "configmap", source["configMap"].get("name", "")
            if "secret" in source:
                secret = source["secret"]
                yield "secret", secret.get("secretName") or secret.get("name", "")
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for bulk in container.env_from:
            for kind, ref in (("configmap", bulk.config_map_ref), ("secret", bulk.secret_ref)):
                if ref is not None:
                    yield kind, ref.name
        for variable in container.env:
            if variable.value_from is not None:
                value = variable.value_from
                for kind, key in (
                    ("configmap", value.config_map_key_ref),
                    ("secret", value.secret_key_ref),
                ):
                    if key is not None:
                        yield kind, key.name


def materialise(
    pod: Pod, folder: Path, lookup: ObjectLookup, facts: Mapping[str, str]
) -> dict[str, Path]:
    """Makes every volume of a pod; volume name to the path that containers see.

    Args:
        pod: The pod.
        folder: The pod's folder for volumes; it may hold them already.
        lookup: ConfigMaps and Secrets.
        facts: See `environment.field_value`.

    Raises:
        BadConfiguration: A source is missing or of a kind that the lab has not.
    """
    out: dict[str, Path] = {}
    for volume in pod.spec.volumes:
        name = volume["name"]
        if "hostPath" in volume:
            out[name] = _host_path(volume["hostPath"])
            continue
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        out[name] = target
        if "emptyDir" not in volume:
            _fill(target, _content(volume, pod, lookup, facts))
        else:
            target.chmod(0o777)
    return out


def _host_path(source: Object) -> Path:
    path, kind = Path(source["path"]), source.get("type", "")
    if kind == "DirectoryOrCreate" or (not kind and not path.exists()):
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif not path.exists():
        raise BadConfiguration(f"hostPath {path} does not exist on this machine")
    return path


def _content(
    volume: Object, pod: Pod, lookup: ObjectLookup, facts: Mapping[str, str]
) -> dict[str, tuple[bytes, int]]:
    """Relative path to content and mode."""
    if "configMap" in volume:
        return _from_object("configmap", volume["configMap"], lookup)
    if "secret" in volume:
        return _from_object("secret", volume["secret"], lookup)
    if "downwardAPI" in volume:
        return _from_fields(volume["downwardAPI"], pod, facts)
    if "projected" in volume:
        out: dict[str, tuple[bytes, int]] = {}
        for source in volume["projected"].get("sources") or []:
            # A service account token would need an issuer; the lab's pods do without.
            if "serviceAccountToken" not in source:
                out |= _content(source, pod, lookup, facts)
        return out
    kinds = ", ".join(key for key in volume if key != "name")
    raise BadConfiguration(
        f"volume {volume.get('name', '')}: kind {kinds} is not in the lab; use emptyDir, "
        "configMap, secret, downwardAPI, projected or hostPath"
    )


def _from_object(kind: str, source: Object, lookup: ObjectLookup) -> dict[str, tuple[bytes, int]]:
    name = source.get("name") or source.get("secretName", "")
    entries = lookup.entries(kind, name, optional=bool(source.get("optional")))
    mode = source.get("defaultMode", _DEFAULT_MODE)
    if not source.get("items"):
        return {key: (value, mode) for key, value in entries.items()}
    out = {}
    for item in source["items"]:
        if item["key"] not in entries:
            raise BadConfiguration(f"{kind} {name} has no key {item['key']}")
        out[item["path"]] = (entries[item["key"]], item.get("mode", mode))
    return out


def _from_fields(
    source: Object, pod: Pod, facts: Mapping[str, str]
) -> dict[str, tuple[bytes, int]]:
    mode = source.get("defaultMode", _DEFAULT_MODE)
    return {
        item["path"]: (field_value(pod, item["fieldRef"]["fieldPath"], facts).encode(), mode)
        for item in source.get("items") or []
        if "fieldRef" in item
    }


def _fill(target: Path, content: Mapping[str, tuple[bytes, int]]) -> None:
    for name, (text, mode) in content.items():
        path = target / os.path.normpath("/" + name).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(text)
        draft.chmod(mode)
        draft.replace(path)
