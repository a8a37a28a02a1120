"""Several processes that share an audit: in step, each with its part of the rows, under torchrun or a script of the user's."""
