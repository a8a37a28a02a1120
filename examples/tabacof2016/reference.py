"""What the released results of Tabacof, Tavares and Valle (2016) come to; the paper itself prints no table.

Computed from the 100 curves that the authors published with their code: mean over 25 pairs and, in brackets on the
page, the standard deviation. `PAIRS` are those of their MNIST VAE, positions in MNIST's test set.
"""

from __future__ import annotations

PAIRS = (
    (8776, 2417), (6192, 8110), (1535, 1940), (3134, 9112), (7254, 2299), (6239, 2126), (9169, 9615), (7661, 1453),
    (6954, 4864), (5593, 2372), (5353, 1542), (161, 7840), (5724, 2614), (3114, 6984), (6706, 4138), (5592, 3990),
    (2438, 5835), (3597, 3633), (4532, 5263), (5768, 9059), (972, 275), (5803, 8403), (2971, 3798), (3562, 7898),
    (6883, 8851),
)  # fmt: skip
AUTOENCODERS: dict[str, dict[str, dict[str, float]]] = {
    "mnist": {
        "vae": {"hinge": 0.635, "median hinge": 0.605, "floor": 0.110, "slope": 1.46, "auddc": 0.387, "linearity": 0.987},
        "ae": {"hinge": 0.616, "median hinge": 0.609, "floor": 0.000, "slope": 1.73, "auddc": 0.333, "linearity": 0.986},
    },
    "svhn": {
        "vae": {"hinge": 0.383, "median hinge": 0.383, "floor": 0.005, "slope": 2.61, "auddc": 0.194, "linearity": 0.998},
        "ae": {"hinge": 0.282, "median hinge": 0.283, "floor": 0.001, "slope": 3.55, "auddc": 0.139, "linearity": 0.999},
    },
}  # fmt: skip
TESTS = {"mnist": {"hinge": 0.58, "auddc": 0.006}, "svhn": {"hinge": 6e-15, "auddc": 2e-15}}
"""p of Welch's test, VAE against AE; their two models were attacked on different pairs."""
CLASSIFIERS = {"mnist": 1.81, "svhn": 2.07}
"""Mean distortion at the first point of a growing C at which the wanted class no longer wins."""
