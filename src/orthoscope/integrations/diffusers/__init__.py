"""Guidance of any strength at any step inside a diffusers pipeline, which stays as it is.

with guided(pipe, schedule="step:early=6.5,late=-1,switch=60%") as log:
    images = pipe(prompts, num_inference_steps=30).images
log.dataset
"""

from orthoscope.integrations.diffusers.intercept import guided as guided
from orthoscope.integrations.diffusers.record import GuidanceLog as GuidanceLog
