"""Train the models of `vaeaudit.zoo` from scratch and write weights, cards and images.

    python scripts/train_zoo.py --data DIR [--only NAME ...]

`--data` is a folder in torchvision's layout; what is missing there is downloaded by torchvision.
`--only` without names rewrites the images and the table of cards alone. Seeded: the same torch
version on the same kind of machine repeats the weights. About twenty minutes on two CPU cores.
Weights are rounded to float16 before the figures of the card are measured, so the cards describe
exactly what ships.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vaeaudit.zoo.models import build

ZOO = Path(__file__).resolve().parent.parent / "vaeaudit" / "zoo"
DATASETS = {"mnist": torchvision.datasets.MNIST, "fashion-mnist": torchvision.datasets.FashionMNIST}
IMAGES_PER_CLASS = 30


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is made; the first half of its card."""

    data: str
    architecture: str
    options: dict[str, object]
    beta: float | None
    epochs: int


def dense(beta: float | None, **options: object) -> Recipe:
    """A recipe of the dense architecture on MNIST."""
    shape: dict[str, object] = {"latent": 20, "hidden": 256}
    return Recipe(data="mnist", architecture="DenseAutoencoder", options=shape | options, beta=beta, epochs=40)


RECIPES = {
    "mnist-vae": dense(1.0),
    "mnist-vae-beta4": dense(4.0),
    "mnist-vae-beta10": dense(10.0),
    "mnist-ae": dense(None, variational=False),
    "fashion-conv-vae": Recipe(
        data="fashion-mnist", architecture="ConvolutionalVAE", options={"latent": 16}, beta=1.0, epochs=25
    ),
}
BATCH, LEARNING_RATE, SEED = 100, 1e-3, 2016


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, I)) in nats, `(batch,)`."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def loss_terms(model: Any, images: Tensor, beta: float | None) -> tuple[Tensor, Tensor]:
    """Reconstruction term and KL of each image, both `(batch,)`.

    Bernoulli negative log-likelihood on grey pixels for a VAE, squared error for an AE.
    """
    if beta is None:
        reconstruction = model.decode(model.encode(images))
        return F.mse_loss(reconstruction, images, reduction="none").flatten(1).sum(1), images.new_zeros(len(images))
    mean, log_variance = model.encode(images)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    reconstruction = model.decode(latents).clamp(1e-6, 1 - 1e-6)
    nll = F.binary_cross_entropy(reconstruction, images, reduction="none").flatten(1).sum(1)
    return nll, kl_to_prior(mean, log_variance)


def train(model: nn.Module, images: Tensor, *, beta: float | None, epochs: int) -> None:
    """Adam at a cosine-annealed rate."""
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(images)).split(BATCH):
            fit, kl = loss_terms(model, images[index], beta)
            loss = (fit + (beta or 0.0) * kl).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(index)
        schedule.step()
        print(f"  epoch {epoch + 1:3d}/{epochs}  loss {total / len(images):.3f}", flush=True)


@torch.no_grad()
def measure(model: Any, images: Tensor, beta: float | None) -> dict[str, float | int]:
    """The figures of the card, on the whole test set, with the mean code for reconstruction."""
    encoded = model.encode(images)
    mean = encoded if beta is None else encoded[0]
    error = (model.decode(mean) - images).square().flatten(1)
    figures: dict[str, float | int] = {
        "reconstruction_mse": float(error.mean()),
        "reconstruction_l2": float(error.sum(1).sqrt().mean()),
        "active_units": int((mean.var(0) > 0.01).sum()),
    }
    if beta is not None:
        terms = [loss_terms(model, images, beta) for _ in range(10)]
        figures["elbo"] = -float(torch.stack([fit + kl for fit, kl in terms]).mean())
        figures["kl"] = float(terms[0][1].mean())
    return figures


def dataset(data: str, root: str, *, train: bool) -> Any:
    return DATASETS[data](root, train=train, download=True)


def pixels(data: str, root: str, *, train: bool) -> Tensor:
    """Images in [0, 1], `(n, 1, 28, 28)`."""
    images: Tensor = dataset(data, root, train=train).data[:, None].float() / 255
    return images


def write_images(data: str, root: str) -> None:
    """Ship the first images of each class of the test set, in the order of the test set."""
    test = dataset(data, root, train=False)
    labels = test.targets.numpy()
    index = np.sort(np.concatenate([np.flatnonzero(labels == k)[:IMAGES_PER_CLASS] for k in range(10)]))
    tensors = {
        "images": test.data[index][:, None].contiguous(),
        "labels": test.targets[index].to(torch.uint8),
        "index": torch.from_numpy(index).to(torch.int32),
    }
    save_file(tensors, ZOO / "images" / f"{data}.safetensors")


def make(name: str, root: str) -> dict[str, object]:
    """Train a model, write its weights, and return its card."""
    recipe = RECIPES[name]
    torch.manual_seed(SEED)
    model = build(recipe.architecture, recipe.options)
    started = time.perf_counter()
    train(model, pixels(recipe.data, root, train=True), beta=recipe.beta, epochs=recipe.epochs)
    seconds = time.perf_counter() - started
    weights = {key: value.half() for key, value in model.state_dict().items()}
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    save_file(weights, ZOO / "weights" / f"{name}.safetensors")
    torch.manual_seed(SEED)
    figures = measure(model.eval(), pixels(recipe.data, root, train=False), recipe.beta)
    training = {"batch": BATCH, "optimiser": "Adam", "learning_rate": LEARNING_RATE, "seed": SEED,
                "torch": torch.__version__, "seconds": round(seconds)}  # fmt: skip
    return {**asdict(recipe), "training": training, "test_figures": {k: round(v, 5) for k, v in figures.items()}}


README = """# The zoo

Small autoencoders to try an audit on and to test against, with 300 real test images of each data set
(30 a class; their licences lie beside them). All trained by `scripts/train_zoo.py`, seeded; weights are
float16 on disk and float32 when loaded. Figures are on the whole test set, with the weights as shipped.

| name | data | architecture | beta | test ELBO (nats) | KL (nats) | reconstruction MSE | reconstruction L2 | active units |
|---|---|---|---|---|---|---|---|---|
{rows}

`DenseAutoencoder` is 784-256-256-20 and its mirror image with ReLU, `ConvolutionalVAE` two strided
convolutions (16 and 32 channels) and a dense layer of 128 with 16 latents and ELU. VAEs maximise the Bernoulli
log-likelihood of grey pixels minus beta times the KL; the deterministic autoencoder minimises squared
error. Adam, learning rate 1e-3 annealed by a cosine, batches of 100; 40 epochs on MNIST, 25 on Fashion-MNIST.
The ELBO is the beta = 1 bound whatever beta was trained with (10 posterior samples). An active unit's posterior
mean varies over the data by more than 0.01 (Burda et al. 2016).
"""


def write_readme(cards: dict[str, Any]) -> None:
    rows = []
    for name, card in cards.items():
        test = card["test_figures"]
        elbo, kl = (f"{test[key]:.2f}" if key in test else "–" for key in ("elbo", "kl"))
        beta = "–" if card["beta"] is None else f"{card['beta']:g}"
        rows.append(
            f"| `{name}` | {card['data']} | {card['architecture']} | {beta} | {elbo} | {kl} | "
            f"{test['reconstruction_mse']:.5f} | {test['reconstruction_l2']:.3f} | {test['active_units']} |"
        )
    (ZOO / "README.md").write_text(README.format(rows="\n".join(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="folder in torchvision's layout")
    parser.add_argument("--only", nargs="*", metavar="NAME", default=list(RECIPES), help=", ".join(RECIPES))
    options = parser.parse_args()
    if unknown := set(options.only) - set(RECIPES):
        parser.error(f"unknown {', '.join(sorted(unknown))}; choose of {', '.join(RECIPES)}")
    path = ZOO / "cards.json"
    cards = json.loads(path.read_text()) if path.exists() else {}
    for data in DATASETS:
        write_images(data, options.data)
    for name in options.only:
        print(name, flush=True)
        cards[name] = make(name, options.data)
        cards = {key: cards[key] for key in RECIPES if key in cards}
        path.write_text(json.dumps(cards, indent=2) + "\n")
    write_readme(cards)


if __name__ == "__main__":
    main()
