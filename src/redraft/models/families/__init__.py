"""One file per model family; the file is the registration."""
