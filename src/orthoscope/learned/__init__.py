"""Networks that stand in for the truth: what they learn, how they are trained, and how they are asked."""

from orthoscope.learned.denoiser import Learned as Learned
from orthoscope.learned.denoiser import Network as Network
from orthoscope.learned.objective import Labelled as Labelled
from orthoscope.learned.objective import Supply as Supply
from orthoscope.learned.perceptron import Perceptron as Perceptron
from orthoscope.learned.training import Log as Log
from orthoscope.learned.training import Trainer as Trainer
from orthoscope.learned.training import Training as Training
from orthoscope.learned.training import train as train
