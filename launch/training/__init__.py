"""Training of the organisms."""
