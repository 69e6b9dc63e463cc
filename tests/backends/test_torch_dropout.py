"""The PyTorch adapter's dropout: the stock module, or one that takes its mask."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dualml_torch.layers import MaskedDropout  # noqa: E402
from torch import nn  # noqa: E402
from torch_support import make_network, make_spec  # noqa: E402


@pytest.mark.parametrize("native_randomness", [False, True])
def test_dropout_is_stock_or_takes_its_mask(native_randomness: bool) -> None:
    spec = make_spec({"input": [50], "layers": [{"dropout": {"rate": 0.3}}]}, loss="mse")
    network = make_network(spec, native_randomness=native_randomness)
    module = network.native.dropout_1
    assert type(module) is (nn.Dropout if native_randomness else MaskedDropout)
    x = torch.randn(4, 50)
    plain = nn.Dropout(0.3)
    torch.manual_seed(7)
    expected = plain(x)
    torch.manual_seed(7)
    assert torch.equal(network.native.train()(x), expected)  # in a user's own loop either is the stock module
    assert torch.equal(network.native.eval()(x), x)
    if native_randomness:
        network.seed(7)
        drawn = network.forward(x.numpy(), training=True)
        assert np.array_equal(drawn["dropout_1"], expected.numpy())
    else:
        masks = {"dropout_1": expected.numpy() != 0}  # the stock module's own mask gives its values bit for bit
        given = network.forward(x.numpy(), training=True, masks=masks)
        assert np.array_equal(given["dropout_1"], expected.numpy())
        assert module.mask is None
        before = torch.get_rng_state()
        network.seed(7)
        assert torch.equal(before, torch.get_rng_state())
        with pytest.raises(ValueError, match="needs a mask"):
            network.forward(x.numpy(), training=True)
        with pytest.raises(ValueError, match="shape"):
            network.forward(x.numpy(), training=True, masks={"dropout_1": masks["dropout_1"][:1]})
