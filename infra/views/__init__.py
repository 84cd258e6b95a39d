"""Views: their tables, their versions, and the runner that folds the log into them."""
