"""The release format: what a release's manifest says, and whether this agent may use it. `manifest` holds both."""
