"""A run -> what phones, browsers and other tools load: signatures of a network, converted, compared with Keras, described."""
