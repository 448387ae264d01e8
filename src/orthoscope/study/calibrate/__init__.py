"""What a pipeline's own predictions tell about its classes: when they are decided, and where a window can act."""

from orthoscope.study.calibrate.findings import findings as findings
from orthoscope.study.calibrate.plan import Calibration as Calibration
from orthoscope.study.calibrate.proposals import audit_command as audit_command
from orthoscope.study.calibrate.run import calibrate as calibrate
