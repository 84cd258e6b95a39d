"""What consumers may rely on: schemas of facts and rows, and the description of every stream of them."""
