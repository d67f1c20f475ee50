"""Personal data: identifiers of persons, by form, check digit and what stands before them."""
