"""edge-ota: the operator's side of edge-agent. It makes what a gateway runs and is not installed on a gateway.

Rules: it imports the device's pure core, its atomic files and, to evaluate a model, its engines; nothing else of the
device. Libraries that only training needs are imported inside the recipes that need them.
"""

__version__ = "0.2.0"
