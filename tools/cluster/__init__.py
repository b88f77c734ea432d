"""A Kubernetes cluster on this machine for the end-to-end tests: knows how to make one with KServe and Knative on it, with
images that are pulled or built here; knows nothing of models and of our chart."""
