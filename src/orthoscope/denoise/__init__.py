"""Denoisers: the contract, the exact ones, and exact ones made wrong in known ways."""

from orthoscope.denoise.active import Active as Active
from orthoscope.denoise.base import Denoiser as Denoiser
from orthoscope.denoise.base import Evaluation as Evaluation
from orthoscope.denoise.base import ExactDenoiser as ExactDenoiser
from orthoscope.denoise.base import FixedLabel as FixedLabel
from orthoscope.denoise.base import Label as Label
from orthoscope.denoise.base import Memory as Memory
from orthoscope.denoise.blended import Blended as Blended
from orthoscope.denoise.bounded import Bounded as Bounded
from orthoscope.denoise.committed import Committed as Committed
from orthoscope.denoise.counted import Counted as Counted
from orthoscope.denoise.imperfect import Biased as Biased
from orthoscope.denoise.imperfect import MissingPullback as MissingPullback
from orthoscope.denoise.imperfect import Pullback as Pullback
from orthoscope.denoise.own import OwnDenoiser as OwnDenoiser
from orthoscope.denoise.own import denoiser as denoiser
from orthoscope.denoise.own_mode import OwnMode as OwnMode
