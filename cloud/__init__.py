"""Training on rented machines: one image, jobs for Azure Machine Learning and Kubernetes.

Jobs are checked before they cost anything.
"""
