r"""CFG++ as a step: denoise with one prediction, add the noise of another one back.

The step of the reference, with its mean $D_u$, is shifted by how far guidance moves the denoised mean:

$$ x' = D + (v'/v)^{(1+\lambda^2)/2}(x - D_u) + \text{noise} . $$

For linear guidance on the probability-flow ODE this is linear guidance of another strength, which the rule `cfg++`
computes for samplers that are not our own (explanation/rules); as a step it takes any rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from orthoscope.denoise import Denoiser
from orthoscope.process import NoiseLevel
from orthoscope.sampling.noise import Noise
from orthoscope.sampling.state import State
from orthoscope.sampling.transition import check_noise_content, transition


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class CFGPlusPlus:
    """The first-order step of the run's guided denoiser that adds the noise of an unguided one back.

    Attributes:
        reference: Denoiser whose noise is added back, the unconditional one.
        lam: Noise content in [0, 1]: 0 is the published step.

    Accuracy:
        Not a discretization: guidance grows with the number of steps, see explanation/rules.

    Source:
        [chung2025cfg], DDIM step.
    """

    reference: Denoiser
    lam: float = 0.0

    def __post_init__(self) -> None:
        """Reject noise contents that do not exist."""
        check_noise_content(self.lam)

    @property
    def needs_noise(self) -> bool:
        """Unless it follows the ODE."""
        return self.lam > 0

    def __call__(self, state: State, next_level: NoiseLevel, denoiser: Denoiser, noise: Noise) -> State:
        """The state at the next level; it carries the memory of the reference."""
        level = state.level
        guided = state.evaluate(denoiser)
        other = self.reference.evaluate(state.x, level, state.label, state.carried)
        z = noise(level, next_level) if self.needs_noise else None
        plain = transition(state.x, level, next_level, other.denoised, z, lam=self.lam)
        x = plain + (guided.denoised - other.denoised)
        return state.moved(x, next_level, guided, other, carried=other.memory)
