"""Parts of a release that contradict each other, or that could never do their work: what is seen without running a model.

Rules: each check gives why the part is unfit, in words, or an empty text. Digests were compared before (`open_release`); this is
about what a builder signed and should not have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from itertools import pairwise
from pathlib import Path

import msgspec

from edge_agent.confidence import ConfidenceRule, score
from edge_agent.errors import ReleaseError
from edge_agent.grammar import tokens_of
from edge_agent.prompt import BEGIN, CONTROLS, END, SLOT_NUMBERS, WRITER_ROLES
from edge_agent.release.certificate import Certificate
from edge_agent.release.manifest import MANIFEST_NAME, Manifest
from edge_agent.values import Draft

MAX_LEXICON = 20_000
MAX_NUMBER = 1e6
"""Of the numbers of a confidence rule: features are between -20 and 6, so that larger ones decide only whether sums overflow."""
_SURE = Draft(skeleton="", logprobs=(-1e-6,) * 12, finished=True)
_UNSURE = Draft(skeleton="", logprobs=(-20.0,) * 12, finished=True)


def wrong_rule(rule: ConfidenceRule, source: str = "confidence.json") -> str:
    """A rule must tell a writer that is sure from one that guesses; a threshold that all or none pass decides nothing."""
    if any(abs(number) > MAX_NUMBER for number in (*rule.weights, rule.intercept)):
        return f"the rule of confidence.json has numbers above {MAX_NUMBER:g}"
    sure, unsure = score(rule, _SURE), score(rule, _UNSURE)
    if not unsure < rule.threshold:
        return f"the threshold {rule.threshold:g} of {source} lets pass what its own rule scores worst, {unsure:g}"
    if not sure >= rule.threshold:
        return f"the threshold {rule.threshold:g} of {source} lets nothing pass: the best score is {sure:g}"
    return ""


def wrong_certificate(certificate: Certificate, manifest: Manifest) -> str:
    """A certificate must be of this release, and its counts must be possible. It may hold on other machines alone."""
    speaker, components = certificate.speaker, manifest.components
    for what, certified, ours in (
        ("writer", speaker.writer_sha256, components["writer/model.bin"].sha256),
        ("tokenizer", speaker.tokenizer_sha256, components["tokenizer.json"].sha256),
        ("lexicon", speaker.lexicon_sha256, components["lexicon.txt"].sha256),
        ("confidence rule", speaker.rule_sha256, components["confidence.json"].sha256),
    ):
        if certified != ours:
            return f"its certificate was measured with another {what} than the release has"
    for measured in certificate.measured:
        counts = measured.counts
        if any(not (one.wrong <= one.texts <= measured.incidents and one.by_writer <= one.texts) for one in counts):
            return f"the counts of its certificate for {measured.machine.instruction_set} cannot be: more texts than were drawn"
        if any(later.threshold >= one.threshold or later.texts < one.texts for one, later in pairwise(counts)):
            return f"the counts of its certificate for {measured.machine.instruction_set} do not go from strict to lax"
    return ""


def wrong_lexicon(lexicon: Set[str]) -> str:
    """Words and stops as the verifier reads them, and nothing else."""
    if not lexicon:
        return "lexicon.txt is empty: the writer could not say a word"
    if len(lexicon) > MAX_LEXICON:
        return f"lexicon.txt has {len(lexicon)} words, at most {MAX_LEXICON} are reviewed"
    for word in sorted(lexicon):
        if word.startswith("<") or tokens_of(word) != [word]:
            return f"lexicon.txt holds {word!r}, which is neither a word in small letters nor a stop"
    return ""


def wrong_tokenizer(tokenizer_json: bytes, vocabulary_json: bytes, lexicon: Set[str]) -> str:
    """Every piece that may stand in a prompt or an answer is one token, comes back as it was, and is the model's too."""
    from tokenizers import Tokenizer  # late, as the writer does

    try:
        tokenizer = Tokenizer.from_buffer(tokenizer_json)
    except Exception as error:  # it raises no other
        raise ReleaseError(f"tokenizer.json: not a tokenizer: {error}") from error
    pieces = _pieces(lexicon)
    for piece in pieces:
        encoded = tokenizer.encode(piece, add_special_tokens=False)
        if encoded.tokens != [piece]:
            return f"its tokenizer reads {piece!r} as {' '.join(encoded.tokens) or 'nothing'}"
        if tokenizer.id_to_token(encoded.ids[0]) != piece:
            return f"its tokenizer does not give {piece!r} back"
    joined = tokenizer.encode(" ".join(pieces), add_special_tokens=False)
    if joined.tokens != list(pieces) or len(set(joined.ids)) != len(pieces):
        return "its tokenizer reads pieces otherwise beside each other than alone"
    return _wrong_vocabulary(vocabulary_json, pieces)


def foreign_file(folder: Path, manifest: Manifest) -> str:
    """The runtime opens files of the writer's folder by names of its own: none may be there that is not of the release."""
    known = {*manifest.components, MANIFEST_NAME}
    for path in sorted((folder / "writer").rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in known:
            return f"{name} is no component of the release"
    return ""


def _pieces(lexicon: Set[str]) -> Sequence[str]:
    slots = (f"<{role}:{number}>" for role in WRITER_ROLES for number in range(SLOT_NUMBERS))
    return tuple(dict.fromkeys((BEGIN, END, *CONTROLS, *slots, *sorted(lexicon))))


def _wrong_vocabulary(data: bytes, pieces: Sequence[str]) -> str:
    try:
        vocabulary = Counter(msgspec.json.decode(data, type=list[str]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"writer/vocabulary.json is not a list of pieces: {error}"
    wrong = next((piece for piece in pieces if vocabulary[piece] != 1), None)
    if wrong is None:
        return ""
    return f"its tokenizer has {wrong!r}, its writer's vocabulary has it {vocabulary[wrong]} times"
