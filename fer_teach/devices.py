"""The GPU, for as long as it is needed: networks live on the processor, and work where work is fastest."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def on_fastest(*models: torch.nn.Module):
    """Move networks to the GPU for a while, if there is one and they are not on one already; yields the device.

    Without a GPU they stay where they are. Afterwards each is back where it was.
    """
    homes = [next((p.device for p in model.parameters()), torch.device("cpu")) for model in models]
    device = torch.device("cuda") if torch.cuda.is_available() else next(iter(homes), torch.device("cpu"))
    with ExitStack() as back:
        for model, home in zip(models, homes, strict=True):
            if home.type != device.type:
                back.callback(model.to, home)
                model.to(device)
        yield device
