"""One module a family of translations; `METHODS` of each module holds them by the name that `fit` takes."""
