"""errno becomes a class and a sentence once."""

import errno

import pytest

from cilia.kernel import features
from cilia.kernel.errors import (
    ExistsError,
    MapFullError,
    NotFoundError,
    RefusedError,
    UnsupportedError,
    VerifierError,
    kernel_error,
    verifier_reason,
)
from cilia.kernel.features import Features
from cilia.model.errors import CiliaError, KernelError, MapFull, Unsupported


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, NotFoundError),
        (errno.ENODEV, NotFoundError),
        (errno.EEXIST, ExistsError),
        (errno.EPERM, RefusedError),
        (errno.EINVAL, KernelError),
    ],
)
def test_the_class_follows_from_errno(number: int, kind: type[KernelError]) -> None:
    error = kernel_error("open", "map x", number, "do this")
    assert type(error) is kind
    assert error.errno == number
    assert str(error).startswith("open map x: ")
    assert str(error).endswith("(do this)")


def test_missing_rights_name_the_remedy() -> None:
    assert "run as root" in str(kernel_error("load", "program p", errno.EPERM))


def test_a_full_map_is_a_map_full() -> None:
    error = MapFullError("policy", 100, 60, 80)
    assert isinstance(error, MapFull)
    assert "all 100 entries are in use (60 of 80 rows written)" in str(error)


def test_the_verifiers_reason_is_its_last_statement() -> None:
    log = "0: (61) r1 = *(u32 *)(r1 +0)\n; x\nR3 !read_ok\nprocessed 9 insns (limit 1000000)\n"
    assert verifier_reason(log) == "R3 !read_ok"
    assert verifier_reason("") == "the verifier gave no reason"
    assert str(VerifierError("p", errno.EACCES, log)).count("\n") == 0


def test_an_old_kernel_is_refused_with_what_it_needs() -> None:
    old = Features(kernel=(5, 15), release="5.15.0", btf=True, jit=True)
    with pytest.raises(UnsupportedError, match=r"kernel 5\.15\.0.*needs 6\.1 or newer"):
        features.require(old)
    bare = Features(kernel=(6, 6), release="6.6.0", btf=False, jit=True)
    with pytest.raises(Unsupported, match="CONFIG_DEBUG_INFO_BTF"):
        features.require(bare)
    features.require(features.features())
    assert issubclass(UnsupportedError, CiliaError)
    with pytest.raises(ValueError, match="does not begin"):
        features.version("six")
