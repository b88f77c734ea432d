"""Where the checkout is, and which example models are trained from it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: The example models, by the name under which they are served.
EXAMPLES = ("breast-cancer", "churn", "iris", "diabetes")
