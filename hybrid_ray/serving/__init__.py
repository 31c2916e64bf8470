"""Which version answers whom, who may ask, and what is decided about versions: rules, and no server."""
