"""What images are measured by, the same for a pipeline and for its twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orthoscope.metrics.diversity import Kernel
from orthoscope.study.audit.plan import Audit

if TYPE_CHECKING:
    from orthoscope.integrations.features import Features
    from orthoscope.integrations.host import Host
    from orthoscope.integrations.judge import Judge


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Yardstick:
    """What images are measured by, the same for a pipeline and its twin.

    Attributes:
        features: Space in which images are compared.
        judge: Who says which class an image is of.
        labels: Class of each prompt, where a judge knows it.
        texts: Features of each prompt's text, where the space has texts.
        references: Features of real images.
    """

    features: Features
    judge: Judge | None = None
    labels: Mapping[str, int] | None = None
    texts: Mapping[str, Any] | None = None
    references: Any = None

    @classmethod
    def of(cls, plan: Audit, host: Host, device: str = "auto", *, allow_pickle: bool = False) -> Yardstick:
        """The yardstick that a plan asks for.

        Args:
            plan: The completed plan.
            host: What generates.
            device: Where networks run.
            allow_pickle: Whether weights that are not safetensors may be read.

        Raises:
            ConfigError: if a network or the references cannot be had.
        """
        from orthoscope.integrations.features import features_of
        from orthoscope.integrations.judge import judge_of, reference_features

        features = features_of(plan.features, model=plan.features_model, device=device, allow_pickle=allow_pickle)
        judge = judge_of(host, classifier=plan.classifier, device=device, allow_pickle=allow_pickle)
        texts = {prompt: features.of_text(prompt) for prompt in plan.prompts} if host.kind == "text" else {}
        return cls(
            features=features,
            judge=judge,
            labels={prompt: host.label(prompt) for prompt in plan.prompts} if judge and host.kind == "class" else None,
            texts=texts if texts and all(text is not None for text in texts.values()) else None,
            references=reference_features(features, plan.reference, host),
        )

    @property
    def kernel(self) -> Kernel:
        """Kernel of the Vendi score: embeddings are compared by angle."""
        return "cosine" if self.features.name in ("clip", "dinov2") else "rbf"
