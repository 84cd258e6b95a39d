"""What do readers get to know? Rows, and pure folds from facts to rows."""
