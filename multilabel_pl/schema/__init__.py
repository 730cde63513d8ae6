"""What a checkpoint must hold: forms of values, checked before anything uses them."""
