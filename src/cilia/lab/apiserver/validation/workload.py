"""Rules of deployments, replica sets and their like."""

from cilia.lab.apiserver.errors import Json
from cilia.lab.apiserver.selectors import selector_of

from .causes import Causes
from .metadata import check_labels, check_selector
from .pod import check_pod_spec

_STRATEGIES = ("Recreate", "RollingUpdate")


def check_workload(causes: Causes, item: Json, old: Json | None) -> None:
    """Replicas, selector and template."""
    spec = item["spec"]
    if spec.get("replicas", 0) < 0:
        text = "must be greater than or equal to 0"
        causes.invalid("spec.replicas", spec["replicas"], text)
    selector = spec.get("selector")
    template = spec.get("template") or {}
    if not selector:
        causes.required("spec.selector")
    else:
        check_selector(causes, "spec.selector", selector)
        if not causes.found and not selector_of(selector)({"metadata": _metadata(template)}):
            labels = _metadata(template).get("labels") or {}
            text = "`selector` does not match template `labels`"
            causes.invalid("spec.template.metadata.labels", labels, text)
    check_labels(causes, "spec.template.metadata.labels", _metadata(template).get("labels"))
    check_pod_spec(causes, "spec.template.spec", template.get("spec") or {}, restart=("Always",))
    if old is not None:
        causes.immutable("spec.selector", selector, old["spec"].get("selector"))


def _metadata(template: Json) -> Json:
    found: Json = template.get("metadata") or {}
    return found


def check_deployment(causes: Causes, item: Json, old: Json | None) -> None:
    """A workload with a strategy."""
    check_workload(causes, item, old)
    strategy = item["spec"].get("strategy") or {}
    causes.one_of("spec.strategy.type", strategy.get("type"), _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling:
        text = "may not be specified when strategy `type` is 'Recreate'"
        causes.forbidden("spec.strategy.rollingUpdate", text)
    if rolling and all(
        rolling.get(field) in (0, "0", "0%") for field in ("maxSurge", "maxUnavailable")
    ):
        text = "may not be 0 when `maxSurge` is 0"
        causes.invalid("spec.strategy.rollingUpdate.maxUnavailable", 0, text)


def check_job(causes: Causes, item: Json, old: Json | None) -> None:
    """A job's template."""
    spec = (item["spec"].get("template") or {}).get("spec") or {}
    check_pod_spec(causes, "spec.template.spec", spec, restart=("OnFailure", "Never"))
