"""Guidance schedules that meet a goal: the best one, what binds, and how the simple ones compare."""

from orthoscope.theory.design.baselines import best_candidates as best_candidates
from orthoscope.theory.design.baselines import candidate as candidate
from orthoscope.theory.design.diagnosis import switching_function as switching_function
from orthoscope.theory.design.diagnosis import window_notes as window_notes
from orthoscope.theory.design.diagnosis import without_negative as without_negative
from orthoscope.theory.design.goals import Candidate as Candidate
from orthoscope.theory.design.goals import Design as Design
from orthoscope.theory.design.goals import Goal as Goal
from orthoscope.theory.design.goals import Margin as Margin
from orthoscope.theory.design.goals import Outcome as Outcome
from orthoscope.theory.design.goals import Within as Within
from orthoscope.theory.design.grid import compared as compared
from orthoscope.theory.design.laws import Law as Law
from orthoscope.theory.design.linear_quadratic import least_effort as least_effort
from orthoscope.theory.design.margin import judged as judged
from orthoscope.theory.design.mixture import MixtureLaw as MixtureLaw
from orthoscope.theory.design.optimize import check as check
from orthoscope.theory.design.optimize import design as design
from orthoscope.theory.design.parametrization import extremes as extremes
from orthoscope.theory.design.pareto import front as front
from orthoscope.theory.design.spectrum import SpectrumLaw as SpectrumLaw
