"""The state record: a save that returned stands, whatever is damaged afterwards, and what is lost is said."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_agent.errors import RecordLostError, RecordOtherError, StorageError
from edge_agent.update.floor import Floor, RoleFloor
from edge_agent.update.record import Candidate, Ended, Held, Record
from edge_agent.update.record_file import COPIES, MARKER, RecordFile

HELD = Held(release="pump-7", counter=7, manifest_sha256="7" * 64)
FULL = Record(
    stage="trial",
    active=replace(HELD, counter=6, manifest_sha256="6" * 64),
    candidate=Candidate(held=HELD, source="repository", ticket="t", began_s=1.5, attempts=2),
    tries_left=2,
    reason="why — so",
    refused_counter=3,
    rotten=("5" * 64,),
    floor=Floor(roles={"root": RoleFloor(version=3)}),
    ended=(Ended(held=HELD, result="refused", reason="no", at_s=2.0, told=True),),
)


def test_a_folder_that_was_never_used_holds_none(tmp_path: Path) -> None:
    assert RecordFile(tmp_path).load() is None


def test_what_is_saved_is_loaded_under_the_next_generation(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    saved = file.save(FULL)
    assert saved == replace(FULL, generation=1)
    assert file.load() == saved
    assert file.save(saved).generation == 2
    assert {path.name for path in tmp_path.iterdir()} == {*COPIES, MARKER}


def test_a_save_is_never_older_than_what_stands(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    for _ in range(5):
        file.save(Record(reason="newer"))
    assert file.save(Record(reason="by one who did not look")).generation == 6


@pytest.mark.parametrize("name", COPIES)
def test_one_copy_is_enough(tmp_path: Path, name: str) -> None:
    file = RecordFile(tmp_path)
    saved = file.save(FULL)
    (tmp_path / name).write_bytes(b"\0" * 100)
    assert file.load() == saved


def test_a_lost_record_is_said_and_may_be_begun_anew(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    file.save(FULL)
    for name in COPIES:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(RecordLostError, match="The factory release runs"):
        file.load()
    begun = file.save(Record(reason="begun anew"))
    assert file.load() == begun


@pytest.mark.parametrize(
    ("version", "body"), [(2, b"anything"), (1, b'{"generation":1,"slots":[]}'), (1, b'{"stage":"resting"}')]
)
def test_a_record_of_another_agent_is_said_and_left_alone(tmp_path: Path, version: int, body: bytes) -> None:
    file = RecordFile(tmp_path)
    file.save(FULL)
    data = b"edge-agent record %d\n%b\n%b" % (version, hashlib.sha256(body).hexdigest().encode(), body)
    for name in COPIES:
        (tmp_path / name).write_bytes(data)
    for do in (file.load, lambda: file.save(FULL)):
        with pytest.raises(RecordOtherError, match="another version"):
            do()
    assert (tmp_path / COPIES[0]).read_bytes() == data


def test_two_agents_at_once_are_told_apart(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from edge_agent.errors import StorageError\n"
        "from edge_agent.update.record_file import RecordFile\n"
        "file = RecordFile(pathlib.Path(sys.argv[1]))\n"
        "print(file.load().reason, flush=True)\n"
        "try:\n"
        "    with file.locked():\n"
        "        print('owned')\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    file = RecordFile(tmp_path)
    command = (sys.executable, "-c", code, str(tmp_path))
    with file.locked():
        file.save(Record(reason="seen"))
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert told.startswith("seen\n")
        assert "another agent updates from there" in told
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == "seen\nowned\n"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="create the folder"), RecordFile(tmp_path / "none").locked():
        pass


DOCUMENT = (Path(__file__).parents[3] / "docs" / "formats" / "update-state.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COPIES)
def test_the_vector_of_the_document_is_a_record(tmp_path: Path, name: str) -> None:
    vector = re.findall(r"```text\n(.*?)\n```", DOCUMENT, re.DOTALL)[-1]
    (tmp_path / name).write_text(vector, encoding="utf-8")
    assert RecordFile(tmp_path).load() == Record(
        generation=3, active=Held(release="pump-7", counter=7, manifest_sha256="7" * 64), committed_counter=7
    )


def test_the_document_names_every_member() -> None:
    members = re.findall(
        r"`([a-z_]+)`", " ".join(re.findall(r"^\| (`[^|]*) \| ", DOCUMENT.split("## The record")[1], re.MULTILINE))
    )
    assert set(members) == set(Record.__struct_fields__)
