"""From settings to the static log and to what is hidden; and what they are refused for."""

import asyncio
from pathlib import Path

import pytest

from cilia.hubble.export.config import ExportLog
from cilia.hubble.redaction import Redaction
from cilia.model.site import NodeSite
from cilia.observer.export import RingIntake, export_services, static_log
from cilia.observer.redacting import redaction
from cilia.observer.settings import ObserverSettings
from cilia.runtime.settings import SettingsError, load_settings
from unit.hubble.export.made_export import NODE, add, feed_of, told
from unit.hubble.made_records import KnownNames


def read(*flags: str) -> ObserverSettings:
    return load_settings(ObserverSettings, flags=flags).values


class MadeAccount:
    epoch = "e"
    told = 4


class MadeRing:
    waiting = 0

    def __init__(self, consumed: int) -> None:
        self.consumed = consumed


def site_in(folder: Path) -> NodeSite:
    return NodeSite(
        name="node-1", netns=None, bpffs=folder, cgroup=folder, state=folder, run=folder
    )


def test_nothing_is_exported_unasked(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    site.export_status.write_text("of an observer that had exports")
    feed = feed_of()
    found = export_services(
        site,
        read(),
        feed.scene.store,
        KnownNames(),
        NODE,
        MadeAccount(),
        {},  # type: ignore[arg-type]  # as much of it as is asked
    )
    assert found == ()
    assert not site.export_status.exists()


def test_every_setting_of_the_static_log() -> None:
    log = static_log(
        read(
            "--hubble-export-file-path=/a.log",
            "--hubble-export-file-max-size-mb=1",
            "--hubble-export-file-max-backups=2",
            "--hubble-export-file-compress=true",
            '--hubble-export-allowlist={"verdict":["DROPPED"]} {"reply":[true]}',
            '--hubble-export-denylist={"source_pod":["kube-system/"]}',
            "--hubble-export-fieldmask=time,verdict",
            "--hubble-export-fieldaggregate=verdict",
            "--hubble-export-aggregation-interval=30s",
        )
    )
    assert log == ExportLog(
        name="static",
        file_path="/a.log",
        field_mask=("time", "verdict"),
        field_aggregate=("verdict",),
        aggregation_interval="30s",
        include_filters=({"verdict": ["DROPPED"]}, {"reply": [True]}),
        exclude_filters=({"source_pod": ["kube-system/"]},),
        file_max_size_mb=1,
        file_max_backups=2,
        file_compress=True,
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--hubble-export-allowlist=nonsense",), "hubble-export-allowlist"),
        (("--hubble-export-fieldmask=nope",), "fieldMask 'nope'"),
        (("--hubble-export-aggregation-interval=3d",), "no duration"),
        (('--hubble-export-denylist={"source_ip":["x"]}',), "source_ip 'x'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    settings, feed = read("--hubble-export-file-path=/a.log", *flags), feed_of()
    with pytest.raises(SettingsError, match=says):
        export_services(
            site_in(tmp_path),
            settings,
            feed.scene.store,
            KnownNames(),
            NODE,
            MadeAccount(),
            {},  # type: ignore[arg-type]  # as above
        )


def test_flows_reach_the_file(tmp_path: Path) -> None:
    path, feed = tmp_path / "a.log", feed_of()
    settings = read(f"--hubble-export-file-path={path}")

    async def run() -> None:
        (exporter,) = export_services(
            site_in(tmp_path),
            settings,
            feed.scene.store,
            KnownNames(),
            NODE,
            MadeAccount(),
            {},  # type: ignore[arg-type]  # as above
        )
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(exporter.run(asyncio.Event()))
            add(feed, 3)
            while exporter.status().logs[0].backlog:
                await asyncio.sleep(0.001)
            running.cancel()

    asyncio.run(run())
    assert told(path) == [0, 1, 2]


def test_what_the_rings_gave_is_what_was_taken_and_what_was_told() -> None:
    intake = RingIntake(MadeAccount(), {0: MadeRing(5), 3: MadeRing(6)})  # type: ignore[arg-type]  # as above
    assert (intake.epoch, intake.taken()) == ("e", 15)


def test_redaction() -> None:
    assert redaction(read()) == Redaction()
    settings = read(
        "--hubble-redact-enabled=true",
        "--hubble-redact-http-urlquery=true",
        "--hubble-redact-http-userinfo=false",
        "--hubble-redact-http-headers-deny=Cookie,Authorization",
        "--hubble-redact-kafka-apikey=true",
    )
    assert redaction(settings) == Redaction(
        enabled=True,
        http_urlquery=True,
        http_userinfo=False,
        http_headers_deny=("Cookie", "Authorization"),
        kafka_apikey=True,
    )
    with pytest.raises(SettingsError, match="exclude each other"):
        redaction(
            read("--hubble-redact-http-headers-deny=a", "--hubble-redact-http-headers-allow=b")
        )
