"""What is known of prompts and of real images, the same for a pipeline and for its twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orthoscope.audits.plan import REFERENCE, Audit
from orthoscope.audits.studio import Studio
from orthoscope.errors import ConfigError
from orthoscope.metrics import ClassImages
from orthoscope.metrics.diversity import Kernel
from orthoscope.progress import LOG, Remark

_FEWEST = 8  # images of either kind, for neighbors and for a Fréchet distance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """What is known of prompts and of real images, the same for a pipeline and its twin.

    Attributes:
        labels: Class of each prompt, where a judge knows it or real images have it.
        texts: Features of each prompt's text, where the space has texts.
        references: Features of real images without classes.
        real: Features of real images by class, where they are at hand.
        kernel: Kernel of the Vendi score: embeddings are compared by angle.
    """

    labels: Mapping[str, int] | None = None
    texts: Mapping[str, Any] | None = None
    references: Any = None
    real: ClassImages | None = None
    kernel: Kernel = "rbf"

    @classmethod
    def of(cls, plan: Audit, studio: Studio, remark: Remark = LOG.warning) -> Yardstick:
        """The yardstick that a plan asks for.

        Args:
            plan: The completed plan.
            studio: What generates, and what measures.
            remark: Told of images that are not read.

        Raises:
            ConfigError: if the references cannot be had, or do not fit the plan.
        """
        from orthoscope.integrations.judge import reference_features
        from orthoscope.integrations.real import real_images

        host, features = studio.host, studio.features
        texts = {prompt: features.of_text(prompt) for prompt in plan.prompts} if host.kind == "text" else {}
        references = reference_features(features, plan.reference, host, remark)
        if plan.reference is not None:
            _check_references(references, studio, plan)
        real = real_images(host)
        has_labels = host.kind == "class" and (studio.judge is not None or real is not None)
        return cls(
            labels={prompt: host.label(prompt) for prompt in plan.prompts} if has_labels else None,
            texts=texts if texts and all(text is not None for text in texts.values()) else None,
            references=references,
            real=None if real is None else real.by_class(features),
            kernel="cosine" if features.name in ("clip", "dinov2") else "rbf",
        )


def _check_references(references: Any, studio: Studio, plan: Audit) -> None:
    """Refuse references that nothing could be compared with; one image is tried where their size may differ."""
    from orthoscope.integrations.host import is_out_of_memory

    host, features = studio.host, studio.features
    made = len(plan.prompts) * (plan.images_per_prompt or 0)
    for what, number in (("reference images", len(references)), ("images under each schedule", made)):
        if number < _FEWEST:
            raise ConfigError(f"fidelity needs at least {_FEWEST} {what}, got {number}; give more, or no `reference`")
    if features.name != "pixel":  # networks bring images of any size to features of one
        return
    try:
        tried = host.generate(
            plan.prompts[0], [plan.seed], REFERENCE, rule=plan.rule, steps=plan.steps,
            size=plan.size,
        )  # fmt: skip
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return  # of which the audit itself says more
        raise
    mine, theirs = features.of(tried).shape[1], references.shape[1]
    if mine != theirs:
        shape = " x ".join(map(str, tried.images.shape[1:]))
        raise ConfigError(
            f"the reference images, cut to the size of the smallest, make {theirs} pixel features each, those of "
            f"{host.name}, {shape}, make {mine}; give references at least as large, or use `features` clip or dinov2"
        )
