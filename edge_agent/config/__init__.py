"""Settings: what can be configured (`settings`) and how a file becomes settings (`load`)."""
