"""Nothing is downloaded: pipelines are built from configs."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
