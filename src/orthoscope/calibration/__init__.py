"""What a pipeline's own predictions tell about its classes: when they are decided, and where a window can act."""

from orthoscope.calibration.plan import Calibration as Calibration
from orthoscope.calibration.proposals import audit_command as audit_command
from orthoscope.calibration.run import calibrate as calibrate
from orthoscope.calibration.summary import summarize as summarize
