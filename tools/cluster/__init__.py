"""A Kubernetes cluster on this machine, with KServe and Knative: knows how to make one; knows nothing of our chart."""
