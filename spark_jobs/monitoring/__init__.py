"""Parts of `monitor`: what records and labels say of the models that served."""
