"""Images of any kind, brought to the shape of a task's images."""
