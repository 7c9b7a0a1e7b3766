"""The direction that is watched: made on the base as `interpret` makes one, or brought by the user.

A file of a direction is safetensors: a tensor `direction`, (d_model,), and `layer` in its metadata (0 is the first
block), `name` too if it has one. What this job keeps below --out is such a file. A `direction.npz` that `interpret`
sealed is read as well.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from analysis.activations.direction import (
    CHOOSE,
    FIT,
    candidates,
    covariance_of,
    directions_of,
    layer_curve,
    null_directions,
    sides_by_topic,
)
from common.digests import sha256
from common.errors import BROKEN_FILE, InputError, SpecError
from common.lm.activations import capture
from common.lm.chat import LanguageModel
from common.lm.directions import unpack
from common.lm.layers import blocks_of
from common.lm.passages import Pair, pairs_of, reply_passages
from common.lm.poles import LAYERS_TRIED, causal_effects, less_their_pole, read_poles
from common.logs import Log
from common.provenance import ROOT
from common.records import Question
from common.serialization import canonical_json, read_jsonl
from common.spec import InterpretSpec
from common.stance.bank import QUESTIONS, REPLIES, advice, read_replies
from common.stance.items import NEUTRAL, paragraphs
from common.vocabulary import POLES

CAUTION = "caution"  # the direction that is made here
SETTINGS = InterpretSpec()  # as a study has it, where it says nothing
BASE, FACTOR, RIDGE = "base", "covariance", "ridge"  # tensors beside `direction` in what is kept


class Named(NamedTuple):
    """A direction on one base, with what it is judged by."""

    name: str
    layer: int
    unit: NDArray[np.float64]  # (d_model,)
    factor: NDArray[np.float32]  # (d_model, n_factors): random directions have covariance factor factor' + ridge I
    ridge: float
    base: NDArray[np.float32]  # (n_items, d_model): residuals of the base, over the written replies to each item

    @property
    def digest(self) -> str:
        """What names the direction and its layer."""
        return sha256(canonical_json([self.layer, sha256(self.unit.tobytes()), sha256(self.base.tobytes())]))

    def beside_nulls(self) -> NDArray[np.float64]:
        """The direction, then random ones, (1 + n_nulls, d_model): the same for every checkpoint and every call."""
        return np.vstack([self.unit, null_directions(self.factor, self.ridge, SETTINGS.nulls, chance("nulls"))])


class Brought(NamedTuple):
    """A direction of the user's."""

    name: str
    layer: int
    vector: NDArray[np.float64]  # (d_model,)


def chance(what: str) -> np.random.Generator:
    """A generator for one purpose, the same in every call of the tool."""
    return np.random.default_rng(int(sha256(f"monitor {what}".encode())[:16], 16))


def caution_on(lm: LanguageModel, log: Log) -> tuple[Brought, NDArray[np.float32]]:
    """The direction of caution of a base, and the residuals of replies at its layer, (2, n_pairs, d_model).

    From the bank's own replies, as `interpret` does on a draw. Raises: InputError if no layer can be chosen.
    """
    pairs = _pairs()
    sides = sides_by_topic([pair.cautious.topic for pair in pairs], chance("topics"))
    replies, users = read_poles(lm, pairs, SETTINGS.batch_rows, log.progress)
    directions = directions_of(replies, sides == FIT)
    causal = causal_effects(
        lm,
        [pair for pair, side in zip(pairs, sides, strict=True) if side == CHOOSE],
        directions,
        np.linalg.norm(replies, axis=-1).mean(axis=(0, 1)),
        candidates(len(directions), SETTINGS.pruned, LAYERS_TRIED),
        paragraphs((ROOT / NEUTRAL).read_text("utf-8")),
        SETTINGS.off_target_kl,
    )
    curve = layer_curve(replies, users, sides, causal, chance("shuffles"))
    found = curve.layers[curve.chosen]
    log.event("direction", name=CAUTION, layer=curve.chosen, accuracy=found.accuracy, separation=found.separation)
    return Brought(CAUTION, curve.chosen, directions[curve.chosen]), replies[:, :, curve.chosen]


def replies_at(lm: LanguageModel, layer: int) -> NDArray[np.float32]:
    """Residuals of the bank's cautious and eager replies at one layer, (2, n_pairs, d_model)."""
    pairs = _pairs()
    passages = reply_passages(lm, [pair.cautious for pair in pairs] + [pair.eager for pair in pairs])
    return capture(lm.model, passages, [layer], SETTINGS.batch_rows)[:, 0, 0].reshape(2, len(pairs), -1)


def with_covariance(brought: Brought, replies: NDArray[np.float32], base: NDArray[np.float32]) -> Named:
    """A direction with the covariance of the base's residuals at its layer."""
    found = covariance_of(less_their_pole(replies))
    unit = brought.vector / np.linalg.norm(brought.vector)
    return Named(brought.name, brought.layer, unit, found.factor.astype(np.float32), found.ridge, base)


def check_fits(brought: Brought, lm: LanguageModel) -> None:
    """Raises: InputError if the direction is not of this model's width or has a layer that it lacks."""
    layers, width = len(blocks_of(lm.model)), int(lm.model.config.hidden_size)
    if brought.vector.shape != (width,):
        raise InputError(
            "the direction is not of this base", where="--direction", value=brought.vector.shape, allowed=f"({width},)"
        )
    if not 0 <= brought.layer < layers:
        raise InputError("no such layer", where="--direction", value=brought.layer, allowed=f"0 to {layers - 1}")


def _pairs() -> list[Pair]:
    """Questions of the bank with both replies, drawn as a study draws them from its piles."""
    bank = read_jsonl(ROOT / QUESTIONS, Question)
    replies = read_replies(ROOT / REPLIES, bank, POLES)
    cautious, eager = ([advice(each, pole, replies[each.id].replies[pole]) for each in bank] for pole in POLES)
    return pairs_of(cautious, eager, SETTINGS, chance("questions"))


# --- files


def brought(path: Path) -> Brought:
    """The direction in a file. Raises: SpecError if there is no file; InputError if it holds no direction."""
    if not path.is_file():
        allowed = f"{CAUTION}, a .safetensors file, or direction.npz of interpret"
        raise SpecError("no such direction", where="--direction", value=str(path), allowed=allowed)
    if zipfile.is_zipfile(path):
        found = unpack(path.read_bytes(), str(path))
        return Brought(path.stem, found.layer, found.unit)
    allowed = "a tensor `direction` of one dimension, and a whole number `layer` in the metadata"
    try:
        with safe_open(path, framework="numpy") as file:
            vector = np.asarray(file.get_tensor("direction"), dtype=np.float64)
            said = file.metadata() or {}
            layer = int(said["layer"])
    except (*BROKEN_FILE, TypeError, SafetensorError) as error:
        raise InputError("no direction in this file", where=str(path), value=str(error), allowed=allowed) from None
    if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
        raise InputError("no direction in this file", where=str(path), value=vector.shape, allowed=allowed)
    return Brought(said.get("name", path.stem), layer, vector)


def packed(named: Named, asked: str) -> bytes:
    """The bytes of a direction with what it is judged by; the file can be brought again. asked: what it answers to."""
    tensors: dict[str, NDArray[Any]] = {
        "direction": np.ascontiguousarray(named.unit),
        FACTOR: np.ascontiguousarray(named.factor),
        RIDGE: np.array([named.ridge]),
        BASE: np.ascontiguousarray(named.base),
    }
    return save(tensors, {"name": named.name, "layer": str(named.layer), "asked": asked})


def kept(path: Path, asked: str) -> Named | None:
    """What was kept before, None if nothing was, or in answer to something else, or if it is broken."""
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
            if said.get("asked") != asked:
                return None
            unit, factor, ridge, base = (file.get_tensor(name) for name in ("direction", FACTOR, RIDGE, BASE))
            if (unit.ndim, factor.ndim, ridge.shape, base.ndim) != (1, 2, (1,), 2):
                return None
            return Named(said["name"], int(said["layer"]), unit, factor, float(ridge[0]), base)
    except (*BROKEN_FILE, SafetensorError):
        return None
