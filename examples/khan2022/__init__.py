"""Khan and Storkey (2022) again: a series over beta, attacks along eigen-directions, and mixup.

    python -m examples.khan2022 --data data --out khan2022 --setting reduced

`--data` is where torchvision keeps MNIST and Fashion-MNIST; what is not there is downloaded. Models and measurements are kept
under `--out`, each whole or not at all, so that an interrupted run goes on where it stopped and another setting measures only
what it adds. `--jobs 2` works on two models at a time, `--device cuda` on a GPU. The reduced setting takes about a quarter of
an hour of one CPU core. What comes of it: `khan2022.md`, `khan2022.html`, `khan2022.json` and the pictures.

`settings` says what is trained and at what size, `training` how, `measuring` and `attacking` what is measured of a model,
`correlating` what follows over models, `claims` judges the paper's claims by it, and `sections` and `plots` show it.
"""
