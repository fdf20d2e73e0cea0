"""Whether a layer that tells its rows apart is found out."""

import torch

from rlrun.rollouts.purity import treats_rows_alike


class Tilted(torch.nn.Module):
    """Adds a little to one row, which the layer behind it takes away again."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self._row = row

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        tilted = batch.clone()
        tilted[self._row] += 1e-6
        return tilted


def equal_rows() -> torch.Tensor:
    return torch.ones(4, 3)


def test_layers_that_treat_all_rows_alike_pass() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
    assert treats_rows_alike(model, lambda: model(equal_rows()))


def test_a_layer_that_tells_one_row_apart_is_seen_although_the_next_hides_it() -> None:
    model = torch.nn.Sequential(Tilted(2), torch.nn.Threshold(10.0, 0.0))
    assert not treats_rows_alike(model, lambda: model(equal_rows()))


def test_nothing_of_the_look_stays_behind() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3))
    treats_rows_alike(model, lambda: model(equal_rows()))
    assert not model[0]._forward_hooks
