"""What any guidance schedule would cost a pipeline, from few recorded runs: its network replaced by a fit to them."""

from orthoscope.forecasts.forecaster import Forecaster as Forecaster
from orthoscope.forecasts.plan import Forecast as Forecast
from orthoscope.forecasts.run import forecast as forecast
