"""Jobs for Azure Machine Learning."""
