"""Train on top of frozen layers: what they answer never changes, so it is computed once and read by every training."""

from __future__ import annotations

import torch

from .devices import on_fastest


@torch.no_grad()
def answers(dataset, cut, trunk, generator=None, batch: int = 256) -> torch.Tensor:
    """What frozen layers answer to every view of every face: bfloat16 (N, R, C, h, w).

    cut(faces, generator) -> float (B, R, channels, H, W), the views of some faces; with a generator it may alter them.
    trunk: the frozen layers, in eval mode, (B * R, channels, H, W) -> (B * R, C, h, w).
    """
    parts = []
    with on_fastest(trunk) as device:
        for index in torch.arange(len(dataset)).split(batch):
            views = cut(dataset[index], generator)
            with torch.autocast(device.type, torch.bfloat16):
                flat = trunk(views.flatten(0, 1).contiguous(memory_format=torch.channels_last).to(device))
            parts.append(flat.unflatten(0, views.shape[:2]).bfloat16().cpu())
    return torch.cat(parts)


def reader(look):
    """The feed for `training.fit` and `evaluation.predict`.

    look() -> split's name -> list of copies, each as `answers` makes them of that split; only called when something is
    read. In training one copy is drawn for each batch, in validation and prediction the first is taken.
    """

    def feed(dataset, index, generator):
        copies = look()[dataset.split]
        which = int(torch.randint(len(copies), (), generator=generator)) if generator is not None else 0
        return copies[which][index].float(), dataset.labels[index]

    return feed
