"""A page in the browser, to draw on."""
