"""Generator and critic in torch, trained against each other. Only ``GanAugmentation.make`` imports this."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from hybrid_ray.preparation.gan_augmentation import GanAugmentationParams
from hybrid_ray.types import AnyArray, FloatArray

MOST_AXES = 64
"""Axes of a class along which the normal distribution varies that its generator starts from."""
_BETAS = (0.5, 0.9)
"""Of Adam: little momentum, since it chases an opponent that moves on."""
_SLOPE = 0.2
_KEPT = 0.95
"""Part of the drawing weights that a step keeps: the mean over steps draws better than the last one (Yazici 2019)."""


def train_generator(X: FloatArray, codes: AnyArray, params: GanAugmentationParams) -> Generator:
    """Train a generator of rows, told a class, against a critic that is told it too; the caller seeds torch.

    Parameters
    ----------
    X : ndarray float32 (n, d)
        Rows, each column of about unit deviation.
    codes : ndarray of int64 (n,)
        Classes 0..C-1; each is drawn equally often.
    params : GanAugmentationParams

    Returns
    -------
    generator : Generator
        With the mean of its weights over the last steps, set to draw.
    """
    rows = torch.from_numpy(np.ascontiguousarray(X))
    classes = torch.from_numpy(np.ascontiguousarray(codes, np.int64))
    n_classes = int(codes.max()) + 1
    share = (1.0 / torch.bincount(classes).float())[classes]
    maker, judge = Generator(X, codes, params), _critic(X.shape[1] + n_classes, params)
    mean = torch.optim.swa_utils.AveragedModel(maker, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_KEPT))
    makes = torch.optim.Adam(maker.parameters(), lr=params.lr, betas=_BETAS)
    judges = torch.optim.Adam(judge.parameters(), lr=params.lr, betas=_BETAS)
    for _ in range(params.steps):
        for _ in range(params.critic_steps):
            picked = torch.multinomial(share, params.batch_size, replacement=True)
            told = nn.functional.one_hot(classes[picked], n_classes).float()
            with torch.no_grad():
                made = maker(told)
            _step(judges, _judge_loss(judge, rows[picked], made, told, params))
        told = nn.functional.one_hot(torch.randint(n_classes, (params.batch_size,)), n_classes).float()
        _step(makes, _maker_loss(judge(torch.cat([maker(told), told], 1)), params))
        mean.update_parameters(maker)
    averaged = mean.module.eval()
    assert isinstance(averaged, Generator), "a copy of what was averaged"
    return averaged


class Generator(nn.Module):
    """Noise and a class in, a row out.

    A row begins as a draw from the normal distribution of its class, which two hidden layers bend; at first they change
    nothing. With the few steps and rows that there are, this is far closer than a start from weights at random.
    """

    centres: torch.Tensor
    axes: torch.Tensor
    latent: int

    def __init__(self, X: FloatArray, codes: AnyArray, params: GanAugmentationParams) -> None:
        super().__init__()
        n_classes, width = int(codes.max()) + 1, X.shape[1]
        centres = np.zeros((n_classes, width), np.float32)
        axes = np.zeros((n_classes, min(width, MOST_AXES), width), np.float32)
        for code in range(n_classes):
            own = X[codes == code].astype(np.float64)
            centres[code] = own.mean(axis=0)
            _, size, turned = np.linalg.svd((own - centres[code]) / np.sqrt(len(own)), full_matrices=False)
            kept = min(len(size), axes.shape[1])
            axes[code, :kept] = size[:kept, None] * turned[:kept]
        self.latent = params.latent
        self.register_buffer("centres", torch.from_numpy(centres))
        self.register_buffer("axes", torch.from_numpy(axes))
        last = nn.Linear(params.hidden, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(width + params.latent + n_classes, params.hidden),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(params.hidden, params.hidden),
            nn.LeakyReLU(_SLOPE),
            last,
        )

    def forward(self, told: torch.Tensor) -> torch.Tensor:
        """Rows (n, d) of classes (n, C), one-hot."""
        code = told.argmax(dim=1)
        along = torch.randn(len(told), 1, self.axes.shape[1])
        start = self.centres[code] + (along @ self.axes[code])[:, 0]
        rows: torch.Tensor = start + self.layers(torch.cat([start, torch.randn(len(told), self.latent), told], 1))
        return rows

    def draw(self, code: int, n: int) -> FloatArray:
        """Rows (n, d) of a class."""
        told = nn.functional.one_hot(torch.full((n,), code), len(self.centres)).float()
        with torch.no_grad():
            return np.asarray(self(told).numpy(), np.float32)


def _critic(width: int, params: GanAugmentationParams) -> nn.Module:
    """A network that says how real a row looks for its class; Lipschitz by itself where no penalty makes it so."""
    sizes = ((width, params.hidden), (params.hidden, params.hidden), (params.hidden, 1))
    layers: list[nn.Module] = [nn.Linear(*size) for size in sizes]
    if params.loss == "spectral":
        layers = [spectral_norm(layer) for layer in layers]
    return nn.Sequential(layers[0], nn.LeakyReLU(_SLOPE), layers[1], nn.LeakyReLU(_SLOPE), layers[2])


def _judge_loss(
    judge: nn.Module, real: torch.Tensor, made: torch.Tensor, told: torch.Tensor, params: GanAugmentationParams
) -> torch.Tensor:
    """What the critic minimises."""
    of_real, of_made = judge(torch.cat([real, told], 1)), judge(torch.cat([made, told], 1))
    if params.loss == "spectral":
        return nn.functional.softplus(-of_real).mean() + nn.functional.softplus(of_made).mean()
    part = torch.rand(len(real), 1)
    between = (part * real + (1 - part) * made).requires_grad_()
    (slope,) = torch.autograd.grad(judge(torch.cat([between, told], 1)).sum(), between, create_graph=True)
    steep = ((slope.norm(dim=1) - 1) ** 2).mean()
    loss: torch.Tensor = of_made.mean() - of_real.mean() + params.penalty * steep
    return loss


def _maker_loss(of_made: torch.Tensor, params: GanAugmentationParams) -> torch.Tensor:
    """What the generator minimises: the non-saturating loss of Goodfellow 2014, or minus what the critic says."""
    return nn.functional.softplus(-of_made).mean() if params.loss == "spectral" else -of_made.mean()


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
