"""InceptionV3 as published FIDs use it: torch-fidelity's port with its weights."""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nastk.errors import ConfigError, ShapeError
from nastk.metrics.extractors import Extracted, Extractor
from nastk.state import hash_tensors

RELEASE_SHA256_START = "6726825d"
"""The release's file name ends in the first digits of its SHA-256, torch.hub's custom."""


class InceptionV3(Extractor):
    """Features (2048) and unbiased logits (1008) of InceptionV3.

    Grey images are repeated to RGB. Only weights whose file has the release's checksum are
    *official*; with others the name in the cards says so and no number may be called FID.

    Args:
        weights: file with the state dictionary of torch-fidelity's release; empty: the copy that
            an earlier download left in torch.hub's folder.
        download: whether the release may be downloaded when there is no such copy (91 MB).
        device: where it runs.

    Raises:
        ConfigError: no weights, or not a state dictionary of this network.

    Source:
        torch-fidelity's ``FeatureExtractorInceptionV3``. Differs: its weights are read with
        ``weights_only=True``.
    """

    width = 2048
    resizer = "tf1-bilinear-299x299"

    def __init__(
        self, weights: str = "", download: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        path = Path(weights).expanduser() if weights else _release(download)
        data = _read(path)
        state = _state(path, data)
        self._device = torch.device(device)
        self._network = _network(path, state).to(self._device)
        self.weights_hash = hash_tensors(state.items())
        self.official = hashlib.sha256(data).hexdigest().startswith(RELEASE_SHA256_START)
        self.name = "inception-v3" if self.official else "inception-v3-unverified"

    def _extract(self, images: Tensor) -> Extracted:
        if images.shape[1] not in (1, 3):
            raise ShapeError(
                f"extractor '{self.name}': got {images.shape[1]} channels, expected 1 or 3"
            )
        rgb = images.to(self._device).expand(-1, 3, -1, -1).contiguous()
        features, logits = self._network(rgb)
        return Extracted(features, logits)


def check_available(weights: str, download: bool) -> None:
    """Return if weights are at hand or may be fetched; downloads nothing.

    Raises:
        ConfigError: the file does not exist, or there is no copy and no leave to download.
    """
    if weights:
        _check_file(Path(weights).expanduser())
    elif not download and not _hub_copy().is_file():
        raise _missing()


def _missing() -> ConfigError:
    return ConfigError(
        "extractor 'inception-v3' has no weights",
        "give evaluator.inception_weights a file, or set evaluator.inception_download=true",
    )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"evaluator.inception_weights: no file '{path}'")


def _url() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return str(URL_INCEPTION_V3)


def _hub_copy() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / _url().rsplit("/", 1)[-1]


def _release(download: bool) -> Path:
    path = _hub_copy()
    if path.is_file():
        return path
    if not download:
        raise _missing()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(_url(), str(path), RELEASE_SHA256_START, progress=False)
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"InceptionV3 weights cannot be downloaded: {error}",
            "give evaluator.inception_weights a file",
        ) from error
    return path


def _read(path: Path) -> bytes:
    _check_file(path)
    return path.read_bytes()


def _state(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused below
            state: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a malformed file can raise anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"InceptionV3 weights '{path}' cannot be read: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ConfigError(f"InceptionV3 weights '{path}': expected a state dictionary of tensors")
    return state


def _network(path: Path, state: dict[str, Tensor]) -> Any:
    """Return torch-fidelity's network with ``state``.

    Its constructor loads a file with ``weights_only=False``. It is given one that was written
    here a moment ago, from tensors that were read safely.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with tempfile.TemporaryDirectory(prefix="nastk-") as folder:
        copy = Path(folder) / "state.pt"
        torch.save(state, copy)
        try:
            return FeatureExtractorInceptionV3(
                "inception-v3", ["2048", "logits_unbiased"], str(copy)
            )
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"InceptionV3 weights '{path}' are of another network: {reason}"
            ) from error
