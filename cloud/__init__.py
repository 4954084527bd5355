"""Training on other people's machines: one image, jobs for Azure Machine Learning and Kubernetes, and checks of them before they cost anything."""
