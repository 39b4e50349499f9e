"""The module's panel: its sections, and what they share."""
