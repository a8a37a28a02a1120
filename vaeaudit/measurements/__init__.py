"""The measurements of an audit, each from the model to its part of the report; rows are kept as soon as they are finished."""
