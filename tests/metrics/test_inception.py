from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from nastk.errors import ConfigError, ShapeError
from nastk.metrics import inception
from nastk.metrics.config import EvaluatorConfig
from nastk.metrics.evaluator import standard
from nastk.metrics.inception import InceptionV3

IMAGES = torch.arange(2 * 3 * 16 * 16).remainder(256).to(torch.uint8).view(2, 3, 16, 16)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state file of the right shapes, randomly initialised."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    path = tmp_path_factory.mktemp("inception") / "state.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = theirs.FeatureExtractorInceptionV3("x", ["2048"])
    torch.save(network.state_dict(), path)
    yield path
    path.unlink()


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


def test_features_and_logits_equal_those_of_torch_fidelity(weights: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    extractor = InceptionV3(str(weights))
    theirs = FeatureExtractorInceptionV3("y", ["2048", "logits_unbiased"], str(weights))
    features, logits = theirs(IMAGES)
    found = extractor.extract(IMAGES)
    assert torch.equal(found.features, features)
    assert found.logits is not None
    assert torch.equal(found.logits, logits)
    assert features.shape == (2, extractor.width)


def test_grey_images_are_repeated_to_rgb_and_other_channels_refused(weights: Path) -> None:
    extractor = InceptionV3(str(weights))
    grey = IMAGES[:1, :1]
    assert torch.equal(extractor.features(grey), extractor.features(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(ShapeError, match="got 2 channels"):
        extractor.features(IMAGES[:, :2])


def test_weights_that_are_not_the_release_never_earn_the_plain_name(weights: Path) -> None:
    extractor = InceptionV3(str(weights))
    assert not extractor.official
    assert extractor.name == "inception-v3-unverified"


def test_weights_with_the_release_checksum_are_official(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    start = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(inception, "RELEASE_SHA256_START", start)
    extractor = InceptionV3(str(weights))
    assert extractor.official
    assert extractor.name == "inception-v3"


def test_a_weights_file_executes_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pth"
    torch.save({"trap": Trap()}, path)
    with pytest.raises(ConfigError, match=r"trap\.pth"):
        InceptionV3(str(path))
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ConfigError, match="cannot be read"):
        InceptionV3(str(path))
    assert not (tmp_path / "sprung").exists()


def test_a_state_of_another_network_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match="another network") as caught:
        InceptionV3(str(path))
    assert "\n" not in str(caught.value)
    torch.save([1, 2], path)
    with pytest.raises(ConfigError, match="state dictionary"):
        InceptionV3(str(path))


def test_without_a_file_nothing_is_downloaded_unless_asked(
    no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(ConfigError, match="inception_download"):
        InceptionV3()


def test_a_download_is_checked_and_its_failure_is_one_line(
    no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fail(url: str, path: str, prefix: str, progress: bool) -> None:
        seen.append(prefix)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ConfigError, match="no network"):
        InceptionV3(download=True)
    assert seen == ["6726825d"]


def test_a_copy_left_by_an_earlier_download_is_used(
    weights: Path, no_hub: None, tmp_path: Path
) -> None:
    copy = inception._hub_copy()
    copy.parent.mkdir(parents=True)
    copy.write_bytes(weights.read_bytes())
    assert InceptionV3().weights_hash == InceptionV3(str(weights)).weights_hash


def test_missing_weights_are_reported_before_anything_is_trained(
    tensor_dataset: Any, no_hub: None
) -> None:
    dataset = tensor_dataset(IMAGES, None, 0)
    with pytest.raises(ConfigError, match=r"no file 'gone\.pth'"):
        standard(EvaluatorConfig(inception_weights="gone.pth"), dataset=dataset, device="cpu")
    with pytest.raises(ConfigError, match="has no weights"):
        standard(EvaluatorConfig(extractor="inception-v3"), dataset=dataset, device="cpu")
