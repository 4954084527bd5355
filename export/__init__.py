"""Export of models: signatures, formats, comparison with Keras, model card, web page, server."""
