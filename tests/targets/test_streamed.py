"""Modes that stay on file or in their seed: the same mixture, in little memory."""

from __future__ import annotations

import importlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from orthoscope import rng
from orthoscope.errors import ConfigError, ShapeError
from orthoscope.laws import Ensemble
from orthoscope.process import NoiseLevel
from orthoscope.targets import Mixture, ensembles, mixture, random_mixture
from orthoscope.targets.ensembles import random_centroids
from orthoscope.targets.mixture import IsotropicModes
from orthoscope.targets.streamed import OnFile, Regenerated, Source, Streamed, ahead, streamed

MODES, DIM, STD = 1000, 6, 0.4
LEVEL = NoiseLevel(time=0.7)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("orthoscope.targets.streamed")  # its package shows the function of that name
    monkeypatch.setattr(module, "_BLOCK", 7 * DIM)


def source(kind: str, folder: Path, ensemble: Ensemble = "gaussian") -> Source:
    if kind == "regenerated":
        return Regenerated(dim=DIM, modes=MODES, stream=partial(rng.stream, 3, "modes"), ensemble=ensemble)
    drawn = random_centroids(DIM, MODES, rng.stream(3, "modes"), dtype=torch.float32, ensemble=ensemble)
    np.save(folder / "modes.npy", drawn.numpy())
    return OnFile(path=folder / "modes.npy")


def in_memory(ensemble: Ensemble = "gaussian", dtype: torch.dtype = torch.float64) -> Mixture:
    drawn = random_centroids(DIM, MODES, rng.stream(3, "modes"), dtype=torch.float32, ensemble=ensemble)
    return mixture(drawn.to(dtype), std=STD)


def rows(n: int = 20) -> torch.Tensor:
    return 1.5 * torch.from_numpy(rng.stream(0, "x").standard_normal((n, DIM)))


def assert_alike(one: IsotropicModes, other: IsotropicModes, labels: tuple[int, ...]) -> None:
    x = rows()
    for name in ("denoised", "score", "log_prob", "posterior_variance"):
        torch.testing.assert_close(getattr(one, name)(x, LEVEL), getattr(other, name)(x, LEVEL), rtol=1e-9, atol=1e-9)
    for label in labels:
        torch.testing.assert_close(one.log_odds(x, label, LEVEL), other.log_odds(x, label, LEVEL), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(
            one.conditional(label).denoised(x, LEVEL), other.conditional(label).denoised(x, LEVEL), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("kind", ["regenerated", "file"])
@pytest.mark.parametrize("ensemble", ["gaussian", "sphere"])
def test_it_is_the_mixture_of_the_same_modes(
    kind: str, ensemble: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensembles, "_BLOCK", 60 * DIM)
    found = streamed(source(kind, tmp_path, ensemble), std=STD, dtype=torch.float64)
    assert (found.size, found.dim, found.width) == (MODES, DIM, STD**2)
    assert_alike(found, in_memory(ensemble), labels=(0, 66, MODES - 1))
    torch.testing.assert_close(found.sample(9, rng.stream(1, "s")), in_memory(ensemble).sample(9, rng.stream(1, "s")))
    assert_alike(found.narrowed(0.1), in_memory(ensemble).narrowed(0.1), labels=(5,))


def test_other_numbers_are_another_mixture(tmp_path: Path) -> None:
    other = Regenerated(dim=DIM, modes=MODES, stream=partial(rng.stream, 4, "modes"))
    gap = streamed(other, std=STD, dtype=torch.float64).denoised(rows(), LEVEL) - in_memory().denoised(rows(), LEVEL)
    assert gap.abs().max() > 0.1


def test_classes_of_many_modes_come_from_all_over_the_file(tmp_path: Path) -> None:
    labels = torch.from_numpy(rng.stream(0, "labels").integers(0, 3, MODES))
    plain = mixture(in_memory().centroids, std=STD, labels=labels)
    center = torch.full((DIM,), 0.3, dtype=torch.float64)
    found = streamed(source("file", tmp_path), std=STD, labels=labels, center=center, dtype=torch.float64)
    assert_alike(found, plain, labels=(0, 2))
    assert found.conditional(1).size == int((labels == 1).sum())


def test_the_numbers_are_those_of_a_random_mixture() -> None:
    plain = random_mixture(DIM, classes=MODES, std=STD, stream=rng.stream(3, "modes"))
    drawn = torch.cat(list(Regenerated(dim=DIM, modes=MODES, stream=partial(rng.stream, 3, "modes")).blocks()))
    torch.testing.assert_close(plain.centroids, drawn, rtol=0, atol=1e-6)


def test_one_block_is_prepared_ahead_and_errors_come_through() -> None:
    made: list[int] = []

    def tables() -> object:
        for k in range(4):
            made.append(k)
            yield torch.full((1, 1), float(k))
        raise ConfigError("the file ends here")

    reader = ahead(tables())
    assert float(next(reader)) == 0
    assert float(next(reader)) == 1
    assert len(made) <= 3
    with pytest.raises(ConfigError, match="ends here"):
        list(reader)


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (np.zeros(5), ShapeError, r"one centroid per row .* shape \(5,\)"),
        (np.zeros((0, 3)), ShapeError, "one centroid per row"),
        (np.zeros((4, 2), dtype=int), ConfigError, "floating-point centroids .* int64"),
        (None, ConfigError, "expected an .npy file"),
    ],
)
def test_unusable_files_are_refused(
    array: np.ndarray | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "modes.npy"
    if array is None:
        path.write_text("no numbers")
    else:
        np.save(path, array)
    with pytest.raises(error, match=message):
        OnFile(path=path)
    with pytest.raises(ConfigError, match="no such file"):
        OnFile(path=tmp_path / "nowhere.npy")


def test_unusable_settings_are_refused(tmp_path: Path) -> None:
    kept = source("file", tmp_path)
    with pytest.raises(ConfigError, match="std must be"):
        streamed(kept, std=-1.0)
    with pytest.raises(ShapeError, match="one label per mode, got 3 labels for 1000"):
        streamed(kept, std=1.0, labels=torch.zeros(3, dtype=torch.long))
    with pytest.raises(ConfigError, match="label 1000 is not present"):
        streamed(kept, std=1.0).conditional(MODES)
    broken = np.zeros((30, DIM))
    broken[20] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    with pytest.raises(ConfigError, match=r"rows 14 to 21 of .* NaN"):
        streamed(OnFile(path=tmp_path / "nan.npy"), std=1.0).denoised(rows().float(), LEVEL)


def test_it_has_the_face_of_a_target(tmp_path: Path) -> None:
    found = streamed(source("file", tmp_path), std=STD)
    assert isinstance(found, Streamed)
    assert found.dtype == torch.float32
    assert found.absorbed()[1] == pytest.approx(STD**2)


CHILD = """
import sys
from functools import partial
import torch
from benchmarks.posterior_mean import high_water
from orthoscope import rng
from orthoscope.process import NoiseLevel
from orthoscope.targets.streamed import OnFile, Regenerated, streamed
torch.set_num_threads(1)
dim, modes = 64, {modes}
kept = OnFile(path=sys.argv[1]) if sys.argv[1:] else Regenerated(
    dim=dim, modes=modes, stream=partial(rng.stream, 0, "modes"))
target = streamed(kept, std=0.5)
x = torch.from_numpy(rng.stream(0, "x").standard_normal((100, dim))).float()
before = high_water()
assert torch.isfinite(target.denoised(x, NoiseLevel(time=1.0))).all()
print(before, high_water())
"""


@pytest.mark.parametrize("kind", ["regenerated", "file"])
def test_memory_does_not_grow_with_the_number_of_modes(kind: str, tmp_path: Path) -> None:
    modes, arguments = 600_000, []  # 0.15 GB
    if kind == "file":
        arguments = [str(tmp_path / "modes.npy")]
        np.save(arguments[0], rng.stream(0, "modes").standard_normal((modes, 64), dtype=np.float32))
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", CHILD.format(modes=modes), *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, run.stdout.split())
    assert after - before < 1e8  # its blocks, and what a first read loads
