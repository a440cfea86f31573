"""Opens the engines of a release's folder: every file's digest is compared with the manifest before native code sees it.

Rules: nothing is loaded by halves; a release that cannot be used raises ReleaseError, and the caller goes on with templates
and without a classifier. The writer is opened by the thread that will own it, and so is the classifier. What is sealed is opened
in memory and goes to the runtimes from there; what is not, they read from its file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

import edge_agent
from edge_agent.confidence import FEATURES, ConfidenceRule
from edge_agent.contents import Contents
from edge_agent.engines.classifier import TfliteClassifier
from edge_agent.engines.instruction_set import instruction_set
from edge_agent.engines.writer import COMPUTE_TYPE, CTranslate2Writer
from edge_agent.errors import ReleaseError
from edge_agent.pipeline import SpeakingRelease
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.certificate import STILL, Key, Machine, differs, measured_for, parse_certificate, speaker_of
from edge_agent.release.group_keys import GroupKey
from edge_agent.release.manifest import MANIFEST_NAME, Manifest, parse_manifest, refuse
from edge_agent.verify import VERIFIER_VERSION

FACTORY = Path(edge_agent.__file__).parent / "factory"
"""The folder of the release that ships inside the package."""
WRITER = "writer"
"""Below it in a release stand the files that the writer's runtime opens by names of its own."""


class OpenRelease(Struct, frozen=True):
    """A release whose every component was read and found to be the manifest's."""

    contents: Contents
    speaking: SpeakingRelease
    certified: str = ""
    """Empty where the threshold in force is a certified one; else why it is the confidence rule's own, in words."""

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return self.contents.folder

    @property
    def manifest(self) -> Manifest:
        """What it is made of."""
        return self.contents.manifest

    def open_writer(self, device: str = "cpu") -> CTranslate2Writer:
        """Load the writer. `device` is `cpu`, `cuda` or `auto`. Raises EngineError, and ReleaseError where it is sealed."""
        lexicon = sorted(self.speaking.lexicon)
        if not self.contents.is_sealed:
            return CTranslate2Writer.open(self.folder / WRITER, self.folder / "tokenizer.json", lexicon, device=device)
        prefix = f"{WRITER}/"
        files = {
            name.removeprefix(prefix): self.contents.read(name) for name in self.manifest.components if name.startswith(prefix)
        }
        return CTranslate2Writer.open_in_memory(
            self.folder / WRITER, files, self.contents.read("tokenizer.json"), lexicon, device=device
        )

    def open_classifier(self) -> TfliteClassifier:
        """Load the classifier. Raises EngineError, and ReleaseError where it is sealed."""
        name = "classifier.tflite"
        model = self.contents.read(name) if self.contents.is_sealed else self.folder / name
        return TfliteClassifier.load(model, sha256=self.manifest.components[name].sha256)


def open_release(folder: Path = FACTORY, device: str = "cpu", keys: Mapping[str, GroupKey] | None = None) -> OpenRelease:
    """Read a release's folder, compare every component with the manifest and check that this agent can run it.

    `keys` are the group keys that a sealed release is opened with, by id.
    Where the release has a certificate that was measured on what the writer will run on, `device` as for `open_writer`, its
    threshold takes the place of the confidence rule's; a certificate of other machines is no reason to refuse the release.
    Raises ReleaseError that names the file and what is wrong with it.
    """
    manifest = parse_manifest(_read(folder / MANIFEST_NAME), str(folder / MANIFEST_NAME))
    why = refuse(manifest, edge_agent.__version__, PROMPT_VERSION)
    if why is not None:
        raise ReleaseError(f"{folder}: {why}")
    contents = Contents(folder, manifest, keys)
    used = {"confidence.json", "lexicon.txt", manifest.certificate}
    read = {}
    for name in manifest.components:
        data = contents.read(name)  # all are compared, few are looked at here
        if name in used:
            read[name] = data
    rule = _rule(read["confidence.json"], folder)
    certificate = None if manifest.certificate is None else read[manifest.certificate]
    threshold, why_not = _certified(certificate, manifest, folder, device)
    if threshold is not None:
        rule = replace(rule, threshold=threshold)
    return OpenRelease(contents, SpeakingRelease(manifest.id, _lexicon(read["lexicon.txt"]), rule), why_not)


def machine_of(device: str = "cpu") -> tuple[Machine, str]:
    """What the writer runs on here, and the exact version of its runtime. `device` as for `open_writer`."""
    try:
        exact = version("ctranslate2")
    except PackageNotFoundError:  # an image may leave the package's metadata out
        exact = "unknown"
    runtime = f"ctranslate2 {'.'.join(exact.split('.')[:2])}"
    return Machine(instruction_set=instruction_set(device), runtime=runtime), exact


def _certified(data: bytes | None, manifest: Manifest, folder: Path, device: str) -> tuple[float | None, str]:
    """The certified threshold that holds here, or None and why there is none, in words."""
    if data is None:
        return None, f"the release has no certificate; {STILL}"
    certificate = parse_certificate(data, f"{folder / (manifest.certificate or '')}")
    speaker = speaker_of(manifest, COMPUTE_TYPE, PROMPT_VERSION, VERIFIER_VERSION)
    key = Key(speaker, machine_of(device)[0])
    measured = measured_for(certificate, key)
    return (None, differs(certificate, key)) if measured is None else (measured.threshold, "")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReleaseError(f"{path}: cannot be read: {error.strerror}; install the release again") from error


def _lexicon(data: bytes) -> frozenset[str]:
    return frozenset(data.decode("utf-8", errors="replace").split("\n")) - {""}


def _rule(data: bytes, folder: Path) -> ConfidenceRule:
    try:
        rule = msgspec.json.decode(data, type=ConfidenceRule)
    except msgspec.DecodeError as error:
        raise ReleaseError(f"{folder / 'confidence.json'}: not a confidence rule: {error}") from error
    if rule.features != FEATURES or len(rule.weights) != len(FEATURES):
        raise ReleaseError(f"{folder / 'confidence.json'}: made for the features {rule.features}; this agent has {FEATURES}")
    return rule
