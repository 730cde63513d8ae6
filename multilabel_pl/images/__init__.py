"""Image files, and how pictures of any size are brought to the form that a model was trained on."""
