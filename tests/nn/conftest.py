"""Every way in which spectra are kept, whatever this machine would choose."""

import pytest

from nastk.nn import frequency, products, transforms


@pytest.fixture(params=["complex", "parts", "small"])
def kind(request, monkeypatch):
    """All spectra are of this kind; small images are parted into sums and differences too."""
    for module, name in ((frequency, "kind_of"), (frequency, "kind_like")):
        monkeypatch.setattr(module, name, lambda *_: request.param)
    monkeypatch.setattr(products, "small_products", lambda *_: request.param == "small")
    monkeypatch.setattr(transforms, "MIRRORED", 2)
    return request.param
