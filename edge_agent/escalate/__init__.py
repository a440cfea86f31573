"""escalate."""
