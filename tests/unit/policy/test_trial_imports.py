"""A trial runs where there is no kernel to speak to: it must not even import the rooms that do."""

import subprocess
import sys

import pytest

ROOMS = ("kernel", "datapath", "state", "runtime", "wire")


def imported(module):
    """The modules of ours that importing one brings in."""
    code = f"import sys, {module}; print(*[m for m in sys.modules if m.startswith('cilia.')])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_trial_imports_no_kernel_and_no_tables():
    found = imported("cilia.cli.commands.policy_test")
    assert "cilia.policy.engine" in found
    assert [m for m in found if m.split(".")[1] in ROOMS] == []


@pytest.mark.parametrize("module", ["program", "commands.policy", "commands.why"])
def test_other_commands_do_not_wait_for_the_engine(module):
    assert not any(m.startswith("cilia.policy") for m in imported(f"cilia.cli.{module}"))
