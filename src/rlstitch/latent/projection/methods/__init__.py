"""One module a family of relations to anchors; `METHODS` of each module holds them by the name that `project` takes."""
