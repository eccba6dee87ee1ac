"""Installs the CustomResourceDefinitions that cilia brings along.

Source: https://docs.cilium.io/en/stable/network/kubernetes/concepts/; one with a
newer schema version, which somebody else installed, is left alone.
"""

import asyncio
import logging
from importlib import resources
from typing import Any

import msgspec

from cilia.model.backoff import Backoff
from cilia.model.errors import CiliaError
from cilia.wire.kubernetes import ApiError, KubernetesClient

log = logging.getLogger(__name__)

FIRST = (
    "ciliumidentities",
    "ciliumendpoints",
    "ciliumnetworkpolicies",
    "ciliumclusterwidenetworkpolicies",
    "ciliumcidrgroups",
    "ciliumnodes",
)
"""What the agent itself needs, before what it only brings along."""
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
VERSION_LABEL = "io.cilium.k8s.crd.schema.version"
VERSION = "1.32.6.1"
"""Of the schemas that we take from Cilium, and then our own count."""


def definition_names() -> list[str]:
    """Returns the plural names of our kinds, in the order in which they are installed."""
    folder = resources.files("cilia.agent") / "crds"
    names = {
        file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")
    }
    return [*FIRST, *sorted(names - set(FIRST))]


def read_definition(plural: str) -> dict[str, Any]:
    """Returns one CustomResourceDefinition."""
    file = resources.files("cilia.agent") / "crds" / f"{plural}.json"
    return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])


def version_number(text: str) -> tuple[int, ...]:
    """Returns a version as numbers, for comparing; anything else comes before all.

    >>> version_number("1.32.6") < version_number("1.32.10"), version_number("")
    (True, ())
    """
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


class Definitions:
    """A Service that sees to it once that all our kinds exist.

    Attributes:
        missing: Kinds that are not installed yet; empty when all are.
    """

    name = "definitions"

    def __init__(self, client: KubernetesClient) -> None:
        self.missing = definition_names()
        self._client = client

    async def run(self, ready: asyncio.Event) -> None:
        """Installs what is missing, again and again until it is done.

        Ready once the agent's own kinds are there, or could not be asked for: they may be
        there all the same.
        """
        backoff = Backoff(limit_s=10.0)
        while self.missing:
            try:
                await self._install(ready)
            except CiliaError as error:
                log.warning("definitions not installed yet", extra={"error": str(error)})
                ready.set()
                await asyncio.sleep(backoff.next_s())
        ready.set()
        await asyncio.Event().wait()

    async def _install(self, ready: asyncio.Event) -> None:
        found = await self._client.get(PATH, labelSelector=VERSION_LABEL)
        versions = {
            item["metadata"]["name"]: item["metadata"]["labels"].get(VERSION_LABEL, "")
            for item in found.get("items") or ()
        }
        ours = version_number(VERSION)
        for plural in list(self.missing):
            version = versions.get(f"{plural}.cilium.io")
            if version is None or version_number(version) < ours:
                await self._apply(read_definition(plural))
            self.missing.remove(plural)
            if not set(FIRST) & set(self.missing):
                ready.set()

    async def _apply(self, wanted: dict[str, Any]) -> None:
        name = wanted["metadata"]["name"]
        try:
            await self._client.create(PATH, wanted)
            log.info("definition installed", extra={"definition": name})
        except ApiError as error:
            if not error.is_conflict:
                raise
            present = await self._client.get(f"{PATH}/{name}")
            told = (present["metadata"].get("labels") or {}).get(VERSION_LABEL, "")
            if version_number(told) >= version_number(VERSION):
                return
            version = present["metadata"]["resourceVersion"]
            metadata = {**wanted["metadata"], "resourceVersion": version}
            await self._client.replace(f"{PATH}/{name}", {**wanted, "metadata": metadata})
            log.info("definition upgraded", extra={"definition": name})
