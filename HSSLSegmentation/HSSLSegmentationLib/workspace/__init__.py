"""The workspace as the panel sees and edits it."""
