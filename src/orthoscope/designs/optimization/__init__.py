"""Guidance schedules that meet a goal: the best one, what binds, and how the simple ones compare."""

from orthoscope.designs.optimization.baselines import best_candidates as best_candidates
from orthoscope.designs.optimization.baselines import candidate as candidate
from orthoscope.designs.optimization.diagnosis import switching_function as switching_function
from orthoscope.designs.optimization.diagnosis import window_notes as window_notes
from orthoscope.designs.optimization.diagnosis import without_negative as without_negative
from orthoscope.designs.optimization.goals import Candidate as Candidate
from orthoscope.designs.optimization.goals import Design as Design
from orthoscope.designs.optimization.goals import Goal as Goal
from orthoscope.designs.optimization.goals import Margin as Margin
from orthoscope.designs.optimization.goals import Outcome as Outcome
from orthoscope.designs.optimization.goals import Within as Within
from orthoscope.designs.optimization.laws import Law as Law
from orthoscope.designs.optimization.linear_quadratic import least_effort as least_effort
from orthoscope.designs.optimization.margin import judged as judged
from orthoscope.designs.optimization.mixture import MixtureLaw as MixtureLaw
from orthoscope.designs.optimization.optimize import check as check
from orthoscope.designs.optimization.optimize import design as design
from orthoscope.designs.optimization.parametrization import extremes as extremes
from orthoscope.designs.optimization.pareto import front as front
from orthoscope.designs.optimization.spectrum import SpectrumLaw as SpectrumLaw
