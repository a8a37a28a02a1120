"""Pictures of a run for its page: what the attack made of a few pairs, at the paper's best C and over the whole series."""

from __future__ import annotations

from collections.abc import Mapping

from vaeaudit.report.pages.charts import Chart
from vaeaudit.report.pages.side_by_side import AttackedPair, picture_grid, side_by_side
from vaeaudit.report.pages.viewers import Viewer

from .attacking import PICTURED, Arrays
from .figures import NAME
from .images import Images
from .settings import Duel


def pictures(duel: Duel, data: Images, trials: Mapping[str, Arrays]) -> list[Chart | Viewer]:
    """What the page shows of a duel beside its charts.

    Args:
        duel: of which models.
        data: that they were attacked on.
        trials: the latent attack by role, see `attacking.attacked`.
    """
    return [_stills(duel, data, trials), *(_viewer(duel, data, trials, pair) for pair in range(len(_ends(data))))]


def _ends(data: Images) -> list[tuple[int, int]]:
    return data.pairs(PICTURED)


def _stills(duel: Duel, data: Images, trials: Mapping[str, Arrays]) -> Chart:
    """What the attack made of the pictured pairs at the strength that the paper's rule picks."""
    heads = ["original", "target", *(f"{role.upper()}: {what}" for role in trials for what in ("attacked", "result"))]
    rows = [
        [data.test[i].numpy(), data.test[j].numpy(), *(
            trial[kind][pair, trial["best"][pair]]
            for trial in trials.values() for kind in ("pictures", "reconstructions")
        )]
        for pair, (i, j) in enumerate(_ends(data))
    ]  # fmt: skip
    return picture_grid(
        f"{NAME}.{duel.name}-pictures", f"Attacked inputs and what is made of them at the strength that the paper's rule picks: {duel.title}",
        f"Originals, targets, attacked inputs and their reconstructions by VAE and AE, {len(rows)} pairs.",
        heads, rows, data.bounds,
    )  # fmt: skip


def _viewer(duel: Duel, data: Images, trials: Mapping[str, Arrays], pair: int) -> Viewer:
    """A pair over the series of C, both models at the same strengths, from that of the paper's rule on."""
    i, j = _ends(data)[pair]
    attacked = {
        role.upper(): AttackedPair(
            strengths=trial["strengths"], adversarial=trial["pictures"][pair],
            reconstructions=trial["reconstructions"][pair],
            figures={name: trial[name][pair] for name in ("distortion", "gap")},
        )
        for role, trial in trials.items()
    }  # fmt: skip
    vae = trials["vae"]
    return side_by_side(
        f"{duel.name}-pair-{pair + 1}",
        f"Pair {pair + 1}: a {data.test_labels[i]} attacked towards a {data.test_labels[j]}",
        f"Strength of the attack on pair {pair + 1}", (data.test[i].numpy(), data.test[j].numpy()), attacked,
        data.bounds, first=float(vae["strengths"][vae["best"][pair]]),
    )  # fmt: skip
