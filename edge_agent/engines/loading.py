"""Opens the engines of a release's folder: every file's digest is compared with the manifest before native code sees it.

Rules: nothing is loaded by halves; a release that cannot be used raises ReleaseError, and the caller goes on with templates
and without a classifier. The writer is opened by the thread that will own it, and so is the classifier.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

import edge_agent
from edge_agent.confidence import FEATURES, ConfidenceRule
from edge_agent.engines.classifier import TfliteClassifier
from edge_agent.engines.writer import CTranslate2Writer
from edge_agent.errors import ReleaseError
from edge_agent.pipeline import SpeakingRelease
from edge_agent.prompt import PROMPT_VERSION
from edge_agent.release.manifest import MANIFEST_NAME, Manifest, check_component, parse_manifest, refuse
from edge_agent.verify import VERIFIER_VERSION

FACTORY = Path(edge_agent.__file__).parent / "factory"
"""The folder of the release that ships inside the package."""


class OpenRelease(Struct, frozen=True):
    """A release whose every component was read and found to be the manifest's."""

    folder: Path
    manifest: Manifest
    speaking: SpeakingRelease

    def open_writer(self, device: str = "cpu") -> CTranslate2Writer:
        """Load the writer. `device` is `cpu`, `cuda` or `auto`. Raises EngineError."""
        return CTranslate2Writer.open(
            self.folder / "writer", self.folder / "tokenizer.json", sorted(self.speaking.lexicon), device=device
        )

    def open_classifier(self) -> TfliteClassifier:
        """Load the classifier. Raises EngineError."""
        return TfliteClassifier.load(
            self.folder / "classifier.tflite", sha256=self.manifest.components["classifier.tflite"].sha256
        )


def open_release(folder: Path = FACTORY) -> OpenRelease:
    """Read a release's folder, compare every component with the manifest and check that this agent can run it.

    Raises ReleaseError that names the file and what is wrong with it.
    """
    manifest = parse_manifest(_read(folder / MANIFEST_NAME), str(folder / MANIFEST_NAME))
    why = refuse(manifest, edge_agent.__version__, PROMPT_VERSION, VERIFIER_VERSION)
    if why is not None:
        raise ReleaseError(f"{folder}: {why}")
    contents = {}
    for name in manifest.components:
        contents[name] = _read(folder / name)
        check_component(manifest, name, contents[name])
    return OpenRelease(
        folder,
        manifest,
        SpeakingRelease(manifest.id, _lexicon(contents["lexicon.txt"]), _rule(contents["confidence.json"], folder)),
    )


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
