from pathlib import Path

import pytest

from cilia.lab.child import restart_delay_s
from cilia.lab.commands import wanted_settings
from cilia.lab.internet import NAMES, WORLD_ADDRESSES
from cilia.lab.manifests import demo_objects, demos
from cilia.lab.requirements import COMMANDS, Machine, problems
from cilia.lab.settings import LabSettings, read, write
from cilia.lab.site import LabSite, find_cgroup2, underlay_host
from cilia.lab.teardown import mount_points
from cilia.lab.topology import BRIDGE, link_commands, namespaces
from cilia.lab.world import world_names

CGROUPS = Path("/sys/fs/cgroup")
GOOD = Machine(0, "6.1.0-9-amd64", True, True, CGROUPS, frozenset(COMMANDS))


@pytest.mark.parametrize("name", ["", "Lab", "my-lab", "1lab", "a" * 16, "a/b", "../x"])
def test_a_name_that_could_be_another_labs_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters and digits"):
        LabSite(name, CGROUPS)


def test_device_names_fit_the_kernel() -> None:
    site = LabSite("a" * 15, CGROUPS, nodes=200)
    assert all(len(one.port or "") <= 15 for one in namespaces(site))


def test_every_machine_of_a_lab_has_addresses_of_its_own() -> None:
    site = LabSite("lab", CGROUPS, nodes=5)
    hosts = [one.host for one in namespaces(site)]
    assert len(set(hosts)) == len(hosts) == 7
    assert site.node_host("node-1") == underlay_host(11)


def test_links_that_are_there_are_not_made_again() -> None:
    wanted = namespaces(LabSite("lab", CGROUPS))
    everything = link_commands(wanted, frozenset())
    assert sum(line.startswith("link add") for line in everything) == 3
    again = link_commands(wanted, frozenset({BRIDGE, "world", "node-1"}))
    assert not [line for line in again if line.startswith("link add")]


@pytest.mark.parametrize(
    ("mountinfo", "found"),
    [
        ("30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup"),
        (
            (
                "30 1 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw\n"
                "31 30 0:27 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw"
            ),
            "/sys/fs/cgroup/unified",
        ),
        ("30 1 0:26 / /sys rw - sysfs sysfs rw", None),
    ],
)
def test_cgroup2_is_found_where_it_is(mountinfo: str, found: str | None) -> None:
    assert find_cgroup2(mountinfo) == (Path(found) if found else None)


def test_a_good_machine_has_no_problems() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("machine", "words", "remedy"),
    [
        (Machine(1000, "6.1", True, True, CGROUPS, frozenset(COMMANDS)), "root", "sudo"),
        (Machine(0, "5.15.0", True, True, CGROUPS, frozenset(COMMANDS)), "5.15.0", "apt install"),
        (Machine(0, "6.1", False, True, CGROUPS, frozenset(COMMANDS)), "type information", "BTF"),
        (Machine(0, "6.1", True, False, CGROUPS, frozenset(COMMANDS)), "bpf", "mount -t bpf"),
        (Machine(0, "6.1", True, True, None, frozenset(COMMANDS)), "cgroup v2", "mount -t cgroup2"),
        (Machine(0, "6.1", True, True, CGROUPS, frozenset({"mount"})), "ip, nsenter", "iproute2"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    machine: Machine, words: str, remedy: str
) -> None:
    (problem,) = problems(machine)
    assert words in problem.what
    assert remedy in problem.remedy


def test_mounts_are_detached_from_the_top() -> None:
    text = "\n".join(
        f"{number} 1 0:1 / {point} rw - tmpfs tmpfs rw"
        for number, point in enumerate(["/run", "/run/lab/a", "/run/lab/a/b", "/run/labx"])
    )
    assert mount_points(text, (Path("/run/lab"),)) == ["/run/lab/a/b", "/run/lab/a"]


def test_restarts_slow_down_and_forgive() -> None:
    delays = [0.0]
    for _ in range(20):
        delays.append(restart_delay_s(0.0, delays[-1]))
    assert delays == sorted(delays)
    assert delays[-1] == 10
    assert restart_delay_s(11.0, delays[-1]) < 1


def test_settings_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    assert read(path, LabSettings) is None
    write(path, LabSettings(nodes=3, demos=("starwars",)))
    assert read(path, LabSettings) == LabSettings(nodes=3, demos=("starwars",))
    path.write_text('{"nodes": "three"}')
    with pytest.raises(ValueError, match=r"nodes.*cilia lab down"):
        read(path, LabSettings)


def test_demos_add_up_and_the_port_stays() -> None:
    first = wanted_settings(LabSettings(), ("starwars",), 1)
    again = wanted_settings(first, ("starwars",), 1)
    assert again == first
    assert first.api_port


def test_the_world_answers_on_every_address_it_has_names_for() -> None:
    addresses = {str(address) for address in WORLD_ADDRESSES}
    assert {one for several in NAMES.values() for one in several} <= addresses
    assert world_names()["1.1.1.1.in-addr.arpa"][0].value == "one.one.one.one"


def test_every_demo_can_be_read() -> None:
    assert demos() == ["starwars"]
    kinds = [item["kind"] for item in demo_objects("starwars")]
    assert kinds == ["Service", "Deployment", "Pod", "Pod"]
