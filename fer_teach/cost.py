"""What a forward pass costs."""

from __future__ import annotations

import torch


def multiplications(network, images) -> float:
    """Multiplications of one forward pass, in millions an image, as PyTorch counts them (convolutions and matrices).

    images: what the network takes, (B, ...). The network is left in eval mode.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(images)
    return counter.get_total_flops() / 2e6 / len(images)
