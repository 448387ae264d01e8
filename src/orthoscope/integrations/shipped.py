"""Class-conditional models that ship with the package, each with the data that it learned.

- `digits`: handwritten digits, ten classes, 8 x 8 pixels;
- `glyphs`: 1,000 characters, 16 x 16 pixels; and three like it for study: `glyphs-10` and `glyphs-100` of so many of
  the characters, and `glyphs-weak`, which had a third of the training, and a third of the forgotten labels.

One safetensors file holds the weights of each and, in its metadata, everything else. `orthoscope train` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save

from orthoscope import rng, writing
from orthoscope.errors import ConfigError
from orthoscope.integrations.class_pipeline import ClassPipeline, build_network, network_config, pipeline_of
from orthoscope.integrations.weights import check_complete, check_finite, check_floating, no_larger
from orthoscope.reading import read_tensors
from orthoscope.targets.bundled import bundled_digits, bundled_glyphs, glyph_names
from orthoscope.targets.labelled import LabelledData

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that ships.

    Attributes:
        name: What it is called.
        data: What it learned.
        names: What its classes are called; None where they are numbers.
        side: Height and width of its images in pixels.
        classes: Number of classes.
        channels: Of its U-Net at each resolution.
        gray: Largest gray level of the data.
        is_half: Whether its weights are stored in half precision.
        std: Width of the modes of its twin, in the units of the pipeline, by the leave-one-out likelihood; None to find
            it then.
    """

    name: str
    data: Callable[[], LabelledData]
    names: Callable[[], tuple[str, ...]] | None = None
    side: int
    classes: int
    channels: tuple[int, ...]
    gray: float
    is_half: bool = False
    std: float | None = None

    @property
    def file(self) -> Path:
        """Where its weights are."""
        return Path(__file__).parent / f"{self.name}.safetensors"

    @property
    def network(self) -> dict[str, Any]:
        """Settings of its U-Net."""
        return network_config(side=self.side, classes=self.classes, channels=self.channels)

    def images(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Its data as the pipeline makes them, (n, 1, side, side) in [-1, 1], and the class of each."""
        data = self.data()
        return (data.x / (self.gray / 2) - 1).astype(np.float32)[:, None], data.labels

    def split(self, seed: int = 0) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Numbers of the images that are trained on, and of those held out, each in an order of its own."""
        is_out = self.data().held_out
        assert is_out is not None  # of everything that ships
        order = rng.stream(seed, "held out").permutation(len(is_out))
        return order[~is_out[order]], order[is_out[order]]


def _glyphs(name: str, classes: int = 1000, std: float | None = None) -> Model:
    return Model(
        name=name,
        data=partial(bundled_glyphs, classes),
        names=cache(partial(glyph_names, classes)),
        side=16,
        classes=classes,
        channels=(32, 64),
        gray=15.0,
        is_half=True,
        std=std,
    )


DIGITS = Model(name="digits", data=bundled_digits, side=8, classes=10, channels=(32, 48), gray=16.0)
_WIDTH = 0.165  # takes some twenty seconds to find among 63,000 images
GLYPHS = _glyphs("glyphs", std=_WIDTH)
MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        DIGITS, GLYPHS, _glyphs("glyphs-10", 10), _glyphs("glyphs-100", 100), _glyphs("glyphs-weak", std=_WIDTH)
    )
}  # fmt: skip


def model_like(config: Mapping[str, Any], names: Collection[str], called: str = "") -> Model | None:
    """The model with the images and classes of a network, whose data are then that network's; None if there is none.

    Args:
        config: Settings of a class-conditional U-Net.
        names: What its classes are called, in order; empty where they are numbers.
        called: What the network is called: of several models of the same data the one of this name, else the first.
    """
    asked = [config.get(name) for name in ("in_channels", "sample_size", "num_class_embeds")]
    alike = [model for model in MODELS.values() if asked == [1, model.side, model.classes + 1]]
    alike.sort(key=lambda model: model.name != called)
    return next((model for model in alike if tuple(names) == (model.names() if model.names else ())), None)


def write_weights(model: Model, unet: Any, path: Path, *, made_by: Mapping[str, Any]) -> None:
    """Write weights with the network's configuration and how it was made.

    Raises:
        ConfigError: if the file cannot be written.
    """
    config = {name: unet.config[name] for name in model.network}
    names = model.names() if model.names else None
    about = {"format": _FORMAT, "model": model.name, "names": names, "network": config, "made_by": made_by}
    state = unet.state_dict()
    weights = {name: (v.half() if model.is_half else v).detach().cpu().contiguous() for name, v in state.items()}
    writing.write(path, save(weights, metadata={"orthoscope": json.dumps(about)}))


def read_class_pipeline(path: Path | str) -> ClassPipeline:
    """The pipeline of weights that `orthoscope train` wrote, or that ship.

    Raises:
        ConfigError: if the file is missing, damaged, or holds another model.
    """
    file = Path(path)
    about, _, weights = read_tensors(file, "orthoscope", framework="pt")
    cure = "train it with: orthoscope train digits"
    if str(about.get("model")) not in MODELS or about.get("format") != _FORMAT:
        raise ConfigError(f"{file} does not hold a model of format {_FORMAT} ({', '.join(MODELS)}); {cure}")
    try:
        if about["network"]["sample_size"] < 1:
            raise ValueError("no image has such a side")
        with no_larger(file):
            unet = build_network(about["network"])
        found = unet.load_state_dict(weights, strict=False)
    except Exception as error:  # a network can fail in many ways to be built of what a file says
        raise ConfigError(f"the weights in {file} do not fit the network it describes; {cure}") from error
    check_complete(unet, file, missing=found.missing_keys, unexpected=found.unexpected_keys)
    check_floating(unet, file, integers=(name for name, value in weights.items() if not value.is_floating_point()))
    check_finite(unet, file)
    pipeline = pipeline_of(unet, about.get("names"))
    source = about["model"] if file == MODELS[about["model"]].file else str(file)  # as other pipelines say it
    pipeline.register_to_config(_name_or_path=source)  # type: ignore[no-untyped-call]
    return pipeline
