"""Opens the engines of a release's folder: every file's digest is compared with the manifest before native code sees it.

Rules: nothing is loaded by halves; a release that cannot be used raises ReleaseError, and the caller goes on with templates
and without a classifier. The writer is opened by the thread that will own it, and so is the classifier. What is sealed is opened
and goes to the runtimes from memory; what is not, they read from its file.
"""

from __future__ import annotations

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
from edge_agent.errors import EngineError, ReleaseError, StorageError
from edge_agent.pipeline import SpeakingRelease
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.certificate import STILL, Key, Machine, differs, measured_for, parse_certificate, speaker_of
from edge_agent.release.manifest import Manifest, refuse
from edge_agent.verify import VERIFIER_VERSION

FACTORY = Path(edge_agent.__file__).parent / "factory"
"""The folder of the release that ships inside the package."""
TOKENIZER = "tokenizer.json"
WRITER = "writer"
"""Below it in a release stand the files that the writer's runtime opens by names of its own."""


class OpenRelease(Struct, frozen=True):
    """A release whose every component was read and found to be the manifest's."""

    contents: Contents
    speaking: SpeakingRelease
    certified: str = ""
    """Empty where the threshold in force is a certified one; else why it is the confidence rule's own, in words."""
    decrypt_folder: str = ""
    """Below it a sealed writer stands in the clear while it is loaded; empty: in memory."""

    @property
    def folder(self) -> Path:
        """Where it stands."""
        return self.contents.folder

    @property
    def manifest(self) -> Manifest:
        """What it is made of."""
        return self.contents.manifest

    def open_writer(self, device: str = "cpu") -> CTranslate2Writer:
        """Load the writer. `device` is `cpu`, `cuda` or `auto`. Raises EngineError."""
        if not self.contents.is_sealed:
            return self._writer_in(self.folder, device)
        files = [name for name in self.manifest.components if name.startswith(f"{WRITER}/")]
        try:
            with self.contents.in_the_clear([*files, TOKENIZER], self.decrypt_folder) as folder:
                return self._writer_in(folder, device)
        except (ReleaseError, StorageError) as error:
            raise EngineError(str(error)) from error

    def open_classifier(self) -> TfliteClassifier:
        """Load the classifier. Raises EngineError."""
        name = "classifier.tflite"
        try:
            model = self.contents.read(name) if self.contents.is_sealed else self.folder / name
        except ReleaseError as error:
            raise EngineError(str(error)) from error
        return TfliteClassifier.load(model, sha256=self.manifest.components[name].sha256)

    def _writer_in(self, folder: Path, device: str) -> CTranslate2Writer:
        return CTranslate2Writer.open(folder / WRITER, folder / TOKENIZER, sorted(self.speaking.lexicon), device=device)


def open_release(
    folder: Path = FACTORY, device: str = "cpu", key_file: str = "", decrypt_folder: str = "", store: Path | None = None
) -> OpenRelease:
    """Read a release's folder, compare every component with the manifest and check that this agent can run it.

    A sealed one is opened with the device's key in `key_file`; what its writer's runtime reads stands in the clear below
    `decrypt_folder` while it is loaded, where that is named, else in memory alone. Below `store`, the agent's own folder, no link
    is followed.

    Where the release has a certificate that was measured on what the writer will run on, `device` as for `open_writer`, its
    threshold takes the place of the confidence rule's; a certificate of other machines is no reason to refuse the release.
    Raises ReleaseError that names the file and what is wrong with it.
    """
    contents = Contents(folder, key_file, follow_links=store is None or not folder.is_relative_to(store))
    manifest = contents.manifest
    why = refuse(manifest, edge_agent.__version__, PROMPT_VERSION)
    if why is not None:
        raise ReleaseError(f"{folder}: {why}")
    used = {"confidence.json", "lexicon.txt", manifest.certificate}
    read = {}
    for name in manifest.components:  # all are compared, few are looked at here
        if name in used:
            read[name] = contents.read(name)
        else:
            contents.check(name)
    rule = _rule(read["confidence.json"], folder)
    certificate = None if manifest.certificate is None else read[manifest.certificate]
    threshold, why_not = _certified(certificate, manifest, folder, device)
    if threshold is not None:
        rule = replace(rule, threshold=threshold)
    speaking = SpeakingRelease(manifest.id, _lexicon(read["lexicon.txt"]), rule)
    return OpenRelease(contents, speaking, why_not, decrypt_folder)


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
