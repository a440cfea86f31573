"""Bundles: what is in one, in which order, what a reader of them refuses, and that a gateway's reader takes what ours takes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from edge_ota import bundle, inspect, revoke
from edge_ota.bundle import BLOCK_BYTES, END
from edge_ota.repository import load
from edge_ota.signing import OperatorError
from edge_ota.unbundle import MAX_MEMBERS, Bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical

from edge_agent.errors import EdgeAgentError
from edge_agent.update import ustar
from tests.ota.repositories import Operator
from tests.update import fleet
from tests.update.bundles import bundle as made_bundle
from tests.update.bundles import in_bundle
from tests.update.simulator import Repository

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    operator = Operator(tmp_path_factory.mktemp("begun"))
    operator.init()
    for counter in (1, 2):
        assert operator.publish_small(counter) == 0
    assert operator.publish_small(3, "fleet") == 0
    return operator


@pytest.fixture(scope="module")
def packed(begun: Operator) -> bytes:
    out = begun.folder / "canary.tar"
    assert bundle.main([str(begun.repository), "--group", "canary", str(out)]) == 0
    return out.read_bytes()


def _member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", form: Literal[0, 1, 2] = tarfile.USTAR_FORMAT
) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(data), 0o644, kind, link
    return entry.tobuf(form, "utf-8") + data + bytes(-len(data) % BLOCK_BYTES)


def _device_reads(data: bytes) -> dict[str, ustar.Span]:
    return ustar.spans(lambda offset, length: data[offset : offset + length], len(data))


def test_what_decides_comes_before_what_is_large(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(packed)
    names = Bundle(tmp_path / "b.tar").names()
    kinds = [name.split("/")[0] if name.startswith("metadata") else name.split("/")[1] for name in names]
    assert kinds == sorted(kinds, key=["metadata", "groups", "blobs"].index)
    metadata = [name.removeprefix("metadata/") for name in names if name.startswith("metadata")]
    assert metadata[0] == "1.root.json"
    assert metadata[1:] == ["timestamp.json", "4.snapshot.json", "1.targets.json", "3.group-canary.json", "2.group-fleet.json"]
    assert not [name for name in names if "groups/fleet" in name]
    assert len({name for name in names if "blobs" in name}) == 7


def test_it_is_a_plain_tar_that_any_tar_reads(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(packed)
    listed = subprocess.run(["tar", "-tf", tmp_path / "b.tar"], check=True, capture_output=True, text=True, timeout=60)
    assert tuple(listed.stdout.split()) == Bundle(tmp_path / "b.tar").names()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for entry in tar:
            assert (entry.isreg(), entry.mode, entry.mtime, entry.uid, entry.uname) == (True, 0o644, 0, 0, "")
            assert not entry.pax_headers


def test_a_gateways_reader_finds_the_same_files(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(packed)
    ours = Bundle(tmp_path / "b.tar")
    for name, span in _device_reads(packed).items():
        parts = ours.parts(name)
        assert parts is not None
        assert b"".join(parts) == packed[span.offset : span.offset + span.size_bytes]
    assert tuple(_device_reads(packed)) == ours.names()


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "a symbolic link": lambda data: _member("metadata/x", kind=tarfile.SYMTYPE, link="/etc/passwd") + data,
    "a hard link": lambda data: _member("metadata/x", kind=tarfile.LNKTYPE, link="metadata/timestamp.json") + data,
    "a folder": lambda data: _member("metadata/", kind=tarfile.DIRTYPE) + data,
    "a device": lambda data: _member("metadata/x", kind=tarfile.CHRTYPE) + data,
    "a FIFO": lambda data: _member("metadata/x", kind=tarfile.FIFOTYPE) + data,
    "a sparse file": lambda data: _member("metadata/x", kind=tarfile.GNUTYPE_SPARSE) + data,
    "a contiguous file": lambda data: _member("metadata/x", kind=tarfile.CONTTYPE) + data,
    "an extended header": lambda data: _member("x" * 101, form=tarfile.PAX_FORMAT) + data,
    "a long name of GNU tar": lambda data: _member("metadata/" + "x" * 101, form=tarfile.GNU_FORMAT) + data,
    "a name that goes up": lambda data: _member("metadata/../x") + data,
    "an absolute name": lambda data: _member("/metadata/x") + data,
    "a name outside": lambda data: _member("other/x") + data,
    "a hidden name": lambda data: _member("metadata/.x") + data,
    "a name with a part that is empty": lambda data: _member("metadata//x") + data,
    "a name with a blank": lambda data: _member("metadata/a b") + data,
    "a name that is not ASCII": lambda data: _member("metadata/ä") + data,
    "a name twice": lambda data: data[: -len(END)] + _member("metadata/timestamp.json", b"{}") + END,
    "too many members": lambda data: b"".join(_member(f"metadata/{i}") for i in range(MAX_MEMBERS + 1)) + END,
    "something after the end": lambda data: data + bytes(512),
    "no end": lambda data: data[: -len(END)],
    "half an end": lambda data: data[:-512],
    "half a file": lambda data: data[: len(data) // 2],
    "a size that is not there": lambda data: data[:124] + b"77777777777\0" + data[136:],
    "a bit of a header": lambda data: data[:3] + bytes([data[3] ^ 1]) + data[4:],
    "nothing": lambda data: b"",
    "no tar": lambda data: b"PK\x03\x04" + data,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_bundle_is_refused_by_us_and_by_a_gateway(packed: bytes, tmp_path: Path, what: str, capsys: Shown) -> None:
    forged = HOSTILE[what](packed)
    assert forged != packed
    (tmp_path / "b.tar").write_bytes(forged)
    with pytest.raises(OperatorError):
        Bundle(tmp_path / "b.tar")
    with pytest.raises(EdgeAgentError):
        _device_reads(forged)
    assert inspect.main([str(tmp_path / "b.tar")]) == 1
    assert str(tmp_path) in capsys.readouterr().err


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_gateway_takes_whatever_we_take(packed: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Headers are changed at random, some with a right checksum, so that they are not refused for that alone."""
    forged = bytearray(packed)
    offsets = [span.offset - BLOCK_BYTES for span in _device_reads(packed).values()]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(offsets))
        place = data.draw(st.integers(0, BLOCK_BYTES - 1))
        forged[at + place] = data.draw(st.integers(0, 255) | st.sampled_from(b"01234567 /.ustar\0"))
        if data.draw(st.booleans()):
            header = forged[at : at + BLOCK_BYTES]
            forged[at + 148 : at + 156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    (tmp_path / "b.tar").write_bytes(forged)
    try:
        ours = Bundle(tmp_path / "b.tar").names()
    except OperatorError:
        return
    assert tuple(_device_reads(bytes(forged))) == ours


def test_a_blob_that_was_changed_is_a_problem(packed: bytes, tmp_path: Path, capsys: Shown) -> None:
    forged = bytearray(packed)
    forged[_device_reads(packed)[next(name for name in _device_reads(packed) if "blobs" in name)].offset] ^= 1
    (tmp_path / "b.tar").write_bytes(forged)
    assert inspect.main([str(tmp_path / "b.tar")]) == 1
    assert "not what was signed" in capsys.readouterr().out


def test_a_member_that_nothing_refers_to_is_a_problem(packed: bytes, tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "b.tar").write_bytes(packed[: -len(END)] + _member("targets/extra", b"x") + END)
    assert inspect.main([str(tmp_path / "b.tar")]) == 1
    assert "targets/extra: nothing refers to it" in capsys.readouterr().out


def _odd_target(signed: dict[str, Any]) -> None:
    signed["targets"]["blobs/\x1b[2J"] = {"length": 1, "hashes": {"sha512": "0" * 128}}


def _release_without_sha256(signed: dict[str, Any]) -> None:
    signed["targets"]["groups/a/release.json"]["hashes"] = {"sha512": "0" * 128}


def _odd_key_id(signed: dict[str, Any]) -> None:
    signed["delegations"]["roles"][0]["keyids"].append(7)


def _odd_role(signed: dict[str, Any]) -> None:
    signed["delegations"]["roles"][0]["name"] = "group-\x1b]0;here\x07"


def _nothing(signed: dict[str, Any]) -> None:
    """A release that was published without a word beside it."""


@pytest.mark.parametrize("change", [_odd_target, _release_without_sha256, _odd_key_id, _odd_role, _nothing])
def test_whatever_stands_in_a_bundle_of_anyones_keys_is_shown_and_moves_no_cursor(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], capsys: Shown
) -> None:
    repository = Repository(groups=("a",))
    fleet.publish(repository, fleet.contents(1))
    role = "targets" if change in (_odd_key_id, _odd_role) else "group-a"
    name = f"metadata/{repository.signed(role).version}.{role}.json"
    document = json.loads(repository.files[name])
    change(document["signed"])
    payload = str(encode_canonical(document["signed"])).encode()
    document["signatures"] = [signer.sign(payload).to_dict() for signer in repository.signers[role]]
    (tmp_path / "b.tar").write_bytes(made_bundle(in_bundle({**repository.files, name: json.dumps(document).encode()})))
    assert inspect.main([str(tmp_path / "b.tar")]) == 1, "an older state of the repository is in it too"
    shown = capsys.readouterr()
    assert all(line.isprintable() for line in (shown.out + shown.err).splitlines())
    assert "\x1b" not in shown.out + shown.err


def test_what_is_no_file_is_not_waited_for(tmp_path: Path, capsys: Shown) -> None:
    os.mkfifo(tmp_path / "b.tar")
    assert inspect.main([str(tmp_path / "b.tar")]) == 1
    (tmp_path / "metadata").mkdir()
    os.mkfifo(tmp_path / "metadata/1.root.json")
    assert inspect.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("no regular file") == 2


def test_a_bundle_expires_with_its_timestamp(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(packed)
    now = datetime.now(UTC)
    assert not inspect.look(tmp_path / "b.tar", now)["problems"]
    late = inspect.look(tmp_path / "b.tar", now + timedelta(days=2))["problems"]
    assert [problem.split(":")[0] for problem in late] == ["timestamp"]
    state = load(Bundle(tmp_path / "b.tar"))
    assert state is not None
    with pytest.raises(OperatorError, match="timestamp has expired"):
        bundle.check_current(state, now + timedelta(days=2))


def test_a_group_without_a_release_has_no_bundle(begun: Operator, tmp_path: Path, capsys: Shown) -> None:
    operator = begun.copied(tmp_path)
    operator.add_group("lab")
    for group, why in (("lab", "has no release"), ("none", "no group"), ("UP", "is made of")):
        assert bundle.main([str(operator.repository), "--group", group, str(tmp_path / "x.tar")]) == 1
        assert why in capsys.readouterr().err
    assert not (tmp_path / "x.tar").exists()


def test_a_blob_that_rotted_in_the_repository_leaves_the_old_bundle_alone(begun: Operator, tmp_path: Path) -> None:
    operator = begun.copied(tmp_path)
    out = tmp_path / "b.tar"
    out.write_bytes(b"old")
    blob = max((operator.repository / "targets/blobs").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert bundle.main([str(operator.repository), "--group", "canary", str(out)]) == 1
    blob.unlink()
    assert bundle.main([str(operator.repository), "--group", "canary", str(out)]) == 1
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_a_revoked_release_is_bundled_with_the_older_blobs(begun: Operator, tmp_path: Path) -> None:
    operator = begun.copied(tmp_path)
    arguments = [str(operator.repository), "--group", "canary", "--release", "trial-2", *operator.with_keys("canary", "online")]
    assert revoke.main(arguments) == 0
    assert bundle.main([str(operator.repository), "--group", "canary", str(tmp_path / "b.tar")]) == 0
    found = inspect.look(tmp_path / "b.tar", datetime.now(UTC))
    assert (found["groups"]["group-canary"]["id"], found["problems"]) == ("trial-1.r3", [])
    assert found["groups"]["group-fleet"] == {"here": False}


_LIMITED = """
import resource, sys
from edge_ota import bundle, inspect, publish
repository, release, out, *keys = sys.argv[1:]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert publish.main([repository, release, "--group", "canary", *keys]) == 0
assert bundle.main([repository, "--group", "canary", out]) == 0
assert inspect.main([out]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_component_passes_through_in_parts(begun: Operator, tmp_path: Path) -> None:
    """Published, bundled and inspected: 48 MiB of weights add less than a third of that to the memory of the process."""
    operator = begun.copied(tmp_path)
    release = operator.small_release(9, model=np.random.default_rng(1).bytes(48 << 20))
    command = [sys.executable, "-c", _LIMITED, str(operator.repository), str(release), str(tmp_path / "b.tar")]
    ran = subprocess.run(
        [*command, *operator.with_keys("canary", "online")], check=True, capture_output=True, text=True, timeout=110
    )
    assert int(ran.stdout.splitlines()[-1]) * 1024 < 16 << 20
    assert (tmp_path / "b.tar").stat().st_size > 47 << 20
