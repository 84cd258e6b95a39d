"""Stories: `given(...).when(...).then(...)` for decisions, and `rows(...)` for views, both without any infrastructure."""
